-- publish: store new messages, each once.
-- include: lane counters epoch
--
-- KEYS  lane stats meta bell high normal low suspects delayed room
-- ARGV  n prefix window delay due max_length overflow envelope...
--       window      dedup window in ms; 0 where the envelopes have no key or hold it until done
--       delay, due  ms from now, or ms since 1970 by Redis's clock; 0 for now
--       max_length  0 for no bound
--       overflow    raise, block, or drop_oldest
--       envelope    without its first 14 bytes, which are added here
-- Reply { status, answer, lost, total, told }; of a call that stores nothing, the first three
--       status      new, again, or old
--       answer      "full", or the exceptions joined by commas: "<index>=<id>" for a duplicate,
--                   "<index>!<id>" for a conflict, "-<id>" for a message dropped to make room
--       lost        how many confirmed calls of this lane Redis has forgotten
--       total       how many messages were ever published; 0 where none is new
--       told        which life of the queue this is, see epoch.lua; "" where it is not asked
--
-- The first write is one that Redis refuses when it is out of memory, so that the whole call is.
local FIRST = 8

local lane, stats, meta, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local high, normal, low, suspects = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local delayed, room = KEYS[9], KEYS[10]
local n, prefix, window = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local delay, due = tonumber(ARGV[4]), tonumber(ARGV[5])
local max_length, overflow = tonumber(ARGV[6]), ARGV[7]

local state, lost, stored, unknown = lane_enter(lane, n)
if state ~= 'new' then return { state, stored, 0 } end

local now = now_ms()
local stamp = string.format('1%013.0f', now)
if delay > 0 then due = now + delay end
if due <= now then due = 0 end

-- 1. Which are new? An equal message may stand in Redis or earlier in this very call. The
-- envelopes lack their first 14 bytes still: the dedup mode is at 3, the id at 12, the digest at
-- 43, that of the content at 65.
local sub, byte = string.sub, string.byte
local count, start = #ARGV - FIRST + 1, prefix .. 'dedup:'
local keys, asked, taken = {}, {}, {}
for i = 1, count do
  local e = ARGV[FIRST + i - 1]
  if byte(e, 3) ~= 45 then
    local key = start .. sub(e, 43, 64)
    keys[i] = key
    asked[#asked + 1] = key
  end
end
if #asked == 1 then
  taken[asked[1]] = redis.call('GET', asked[1])
elseif #asked > 1 then
  local values = redis.call('MGET', unpack(asked))
  for i = 1, #asked do taken[asked[i]] = values[i] end
end
local new, new_keys, new_values, answer, duplicates = {}, {}, {}, {}, 0
for i = 1, count do
  local e, key = ARGV[FIRST + i - 1], keys[i]
  if not key then
    new[#new + 1] = stamp .. e
  else
    local value, mode, first = sub(e, 12, 35), byte(e, 3), taken[key]
    if mode == 87 or mode == 68 then value = value .. sub(e, 65, 86) end
    if first then
      local mark = (#first > 24 and #value > 24 and sub(first, 25) ~= sub(value, 25)) and '!' or '='
      answer[#answer + 1] = (i - 1) .. mark .. sub(first, 1, 24)
      duplicates = duplicates + 1
    else
      taken[key] = value
      local at = #new_keys + 1
      new_keys[at], new_values[at] = key, value
      new[#new + 1] = stamp .. e
    end
  end
end

-- 2. Is there room? Ready and delayed messages count, whatever their priority.
local priority = byte(ARGV[FIRST], 1)
local target = priority == 104 and high or priority == 108 and low or normal
redis.call('LLEN', target) -- a key of the wrong type must fail here, before the first write
local delayed_before = (due > 0 or max_length > 0) and redis.call('ZCARD', delayed)
local none = {}
local victims, cut, owned = none, none, none
if max_length > 0 and #new > 0 then
  local over = redis.call('LLEN', high) + redis.call('LLEN', normal) + redis.call('LLEN', low)
    + redis.call('LLEN', suspects) + delayed_before + #new - max_length
  if over > 0 and overflow ~= 'drop_oldest' then
    if overflow == 'block' then
      redis.call('HSET', meta, 'blocked', string.format('%.0f', now + 10000))
    end
    lane_leave(lane, ARGV[1], 'full')
    return { state, 'full', lost }
  end
  over, victims, cut = math.min(over, 1000), {}, {}
  for _, list in ipairs({ low, normal, high }) do
    if over > 0 then
      local old = redis.call('LRANGE', list, 0, over - 1)
      for _, e in ipairs(old) do victims[#victims + 1] = e end
      if #old > 0 then cut[#cut + 1] = { list, #old } end
      over = over - #old
    end
  end
  if over > 0 then
    local old = redis.call('ZRANGE', delayed, 0, over - 1)
    for _, e in ipairs(old) do victims[#victims + 1] = e end
    if #old > 0 then cut[#cut + 1] = { delayed, #old, old } end
  end
  -- include: head dedup
  for _, e in ipairs(victims) do
    if head_ok(e) then answer[#answer + 1] = '-' .. head_id(e) end
  end
  owned = dedup_owned(prefix, victims)
end

-- 3. Must an idle consumer be told? Of work that it can take, or that it must wake up earlier.
local ring = false
if #new > 0 and redis.call('LLEN', bell) == 0 then
  if due > 0 then
    local earliest = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
    ring = not earliest[2] or due < tonumber(earliest[2])
  else
    ring = true
  end
  ring = ring and redis.call('HGET', meta, 'paused') ~= '1'
end
-- Where publishers wait for room, the next one may find some as well.
local wake = false
if overflow == 'block' and max_length > 0 then
  local waiting = tonumber(redis.call('HGET', meta, 'blocked') or '0') or 0
  wake = waiting > now and redis.call('LLEN', room) == 0
end
local deltas = { published = #new }
if duplicates > 0 then deltas.duplicates = duplicates end
if #victims > 0 then deltas.dropped = #victims end
local sums = counters_read(stats, deltas)

-- All is read and checked: from here on only writes.
local call = redis.call
if window == '0' then
  for i = 1, #new_keys do call('SET', new_keys[i], new_values[i]) end
else
  for i = 1, #new_keys do call('SET', new_keys[i], new_values[i], 'PX', window) end
end
if #new > 0 then
  if due > 0 then
    local items, text = {}, string.format('%.0f', due)
    for i = 1, #new do items[2 * i - 1], items[2 * i] = text, new[i] end
    call('ZADD', delayed, unpack(items))
  else
    call('RPUSH', target, unpack(new))
  end
end
for _, c in ipairs(cut) do
  if c[1] == delayed then
    redis.call('ZREM', delayed, unpack(c[3]))
  else
    redis.call('LTRIM', c[1], c[2], -1)
  end
end
if #owned > 0 then call('DEL', unpack(owned)) end
counters_write(stats, sums)
if n == 1 and window ~= '0' then call('HSET', stats, 'window', window) end -- as in enqueue
if ring then redis.call('RPUSH', bell, '1') end
if wake then
  redis.call('RPUSH', room, '1')
  redis.call('PEXPIRE', room, 60000)
end
local text = table.concat(answer, ',')
lane_leave(lane, ARGV[1], text)
local at = string.format('%.0f', now)
local epoch = epoch_made(stats, at)
local told = epoch and epoch_told(epoch, at, unknown and n or 0) or ''
local total = 0
for i = 1, sums and #sums or 0, 2 do
  if sums[i] == 'published' then total = tonumber(sums[i + 1]) end
end
return { state, text, lost, total, told }
