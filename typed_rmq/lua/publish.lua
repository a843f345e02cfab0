-- publish: store new messages, each once.
-- include: lane counters head dedup
--
-- KEYS  lane stats meta bell high normal low suspects delayed room
-- ARGV  n prefix window delay due max_length overflow envelope...
--       window      dedup window in ms; 0 where the envelopes have no key or hold it until done
--       delay, due  ms from now, or ms since 1970 by Redis's clock; 0 for now
--       max_length  0 for no bound
--       overflow    raise, block, or drop_oldest
--       envelope    without its first 14 bytes, which are added here
-- Reply { status, answer, lost }
--       status      new, again, or old
--       answer      "full", or the exceptions joined by commas: "<index>=<id>" for a duplicate,
--                   "<index>!<id>" for a conflict, "-<id>" for a message dropped to make room
--       lost        how many confirmed calls of this lane Redis has forgotten
--
-- The first write is one that Redis refuses when it is out of memory, so that the whole call is.
local FIRST = 8

local lane, stats, meta, bell = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local high, normal, low, suspects = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local delayed, room = KEYS[9], KEYS[10]
local n, prefix, window = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local delay, due = tonumber(ARGV[4]), tonumber(ARGV[5])
local max_length, overflow = tonumber(ARGV[6]), ARGV[7]

local state, lost, stored = lane_enter(lane, n)
if state ~= 'new' then return { state, stored, 0 } end

local now = now_ms()
local stamp = string.format('1%013.0f', now)
if delay > 0 then due = now + delay end
if due <= now then due = 0 end

-- 1. Which are new? An equal message may stand in Redis or earlier in this very call.
local fresh, keys, taken, answer = {}, {}, {}, {}
local asked, asked_at = {}, {}
for i = FIRST, #ARGV do
  local e = stamp .. ARGV[i]
  local key = dedup_key(prefix, e)
  fresh[#fresh + 1] = e
  if key then
    keys[#fresh] = key
    asked[#asked + 1] = key
    asked_at[#asked] = #fresh
  end
end
local values = {}
if #asked == 1 then
  values[asked_at[1]] = redis.call('GET', asked[1])
elseif #asked > 1 then
  for i, value in ipairs(redis.call('MGET', unpack(asked))) do values[asked_at[i]] = value end
end
local new, count, duplicates = {}, #fresh, 0
for i = 1, count do
  local e, key = fresh[i], keys[i]
  local first = key and (values[i] or taken[key])
  if first then
    local mine = dedup_value(e)
    local mark = (#first > 24 and #mine > 24 and string.sub(first, 25) ~= string.sub(mine, 25))
      and '!' or '='
    answer[#answer + 1] = (i - 1) .. mark .. string.sub(first, 1, 24)
    duplicates = duplicates + 1
  else
    new[#new + 1] = i
    if key then taken[key] = dedup_value(e) end
  end
end

-- 2. Is there room? Ready and delayed messages count, whatever their priority.
local priority = string.byte(fresh[1], 15)
local target = priority == 104 and high or priority == 108 and low or normal
redis.call('LLEN', target) -- a key of the wrong type must fail here, before the first write
local delayed_before = redis.call('ZCARD', delayed)
local victims, cut, owned = {}, {}, {}
if max_length > 0 and #new > 0 then
  local over = redis.call('LLEN', high) + redis.call('LLEN', normal) + redis.call('LLEN', low)
    + redis.call('LLEN', suspects) + delayed_before + #new - max_length
  if over > 0 and overflow ~= 'drop_oldest' then
    if overflow == 'block' then
      redis.call('HSET', meta, 'blocked', string.format('%.0f', now + 10000))
    end
    lane_leave(lane, n, 'full')
    return { state, 'full', lost }
  end
  over = math.min(over, 1000)
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
local sums = counters_read(stats, {
  published = #new, duplicates = duplicates, dropped = #victims,
})

-- All is read and checked: from here on only writes.
for _, i in ipairs(new) do
  if keys[i] then
    if window > 0 then
      redis.call('SET', keys[i], taken[keys[i]], 'PX', window)
    else
      redis.call('SET', keys[i], taken[keys[i]])
    end
  end
end
if #new > 0 then
  local items = {}
  if due > 0 then
    for j, i in ipairs(new) do items[2 * j - 1], items[2 * j] = due, fresh[i] end
    redis.call('ZADD', delayed, unpack(items))
  else
    for j, i in ipairs(new) do items[j] = fresh[i] end
    redis.call('RPUSH', target, unpack(items))
  end
end
for _, c in ipairs(cut) do
  if c[1] == delayed then
    redis.call('ZREM', delayed, unpack(c[3]))
  else
    redis.call('LTRIM', c[1], c[2], -1)
  end
end
dedup_free(owned)
counters_write(stats, sums)
if ring then redis.call('RPUSH', bell, '1') end
if wake then
  redis.call('RPUSH', room, '1')
  redis.call('PEXPIRE', room, 60000)
end
local text = table.concat(answer, ',')
lane_leave(lane, n, text)
return { state, text, lost }
