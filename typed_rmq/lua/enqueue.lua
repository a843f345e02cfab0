-- enqueue: store new messages that are ready at once, in a queue without a bound, each once.
--
-- KEYS  lane stats ready bell meta dedup...
-- ARGV  n window touch envelope...
--       window      dedup window in ms; 0 where the keys are held until done
--       touch       1 where the lane's key wants to live for another hour
--       envelope    without its first 14 bytes, which are added here
--       dedup       a key for each envelope; none at all where nothing is deduplicated
-- Reply the number of messages ever published, where all are new, and the lane is known; else that of
--       publish.lua, which stores delayed messages and those of a queue with a bound
--
-- This is the path of nearly all messages, so it asks little beforehand: each write tells itself
-- whether it can be done, and what was done is undone where a later one fails. The first is one
-- that Redis refuses when it is out of memory, so that the whole call is.
local lane, stats, ready, bell, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local n, window = tonumber(ARGV[1]), ARGV[2]
local FIRST, DEDUP = 4, 5
local call, pcall, sub, byte = redis.call, redis.pcall, string.sub, string.byte

local ring = call('LLEN', bell) == 0 and call('HGET', meta, 'paused') ~= '1'
local lost, before = 0, nil
local entered = pcall('INCR', lane)
if entered ~= n or n == 1 or ARGV[3] == '1' then
  -- Not just the next number of a lane that is known.
  -- include: lane
  if entered == 1 then
    call('DEL', lane)
  elseif type(entered) == 'number' then
    call('DECR', lane)
  end
  local state, missing, stored = lane_enter(lane, n)
  if state ~= 'new' then return { state, stored, 0 } end
  -- Out of memory; but what was stored before must not be said to be refused.
  if type(entered) == 'table' and string.find(entered.err, 'OOM', 1, true) then return entered end
  lost, before = missing, call('GET', lane)
  lane_leave(lane, ARGV[1], '')
end

local count = #ARGV - FIRST + 1
local new, new_keys, answer = {}, {}, nil
local time = call('TIME')
local stamp = '1' .. time[1] .. sub('00000' .. time[2], -6, -4)
local broken, by_stats

-- Many keys are stored by one command, in two thirds of the time: where the server has it, the user
-- may (asked beforehand, as a refusal is written to the ACL log), and none is there yet.
local at_once = false
if count > 1 and #KEYS > DEDUP and window ~= '0' and ((redis.VALKEY_VERSION_NUM or 0) >= 0x00090100
  or (redis.REDIS_VERSION_NUM or 0) >= 0x00080400) then
  local items, seen, twice = {}, {}, false
  for i = 1, count do
    local e, key = ARGV[FIRST + i - 1], KEYS[DEDUP + i]
    local value, mode = sub(e, 12, 35), byte(e, 3)
    if mode == 87 or mode == 68 then value = value .. sub(e, 65, 86) end
    twice, seen[key] = twice or seen[key], true
    items[2 * i - 1], items[2 * i] = key, value
  end
  items[2 * count + 1], items[2 * count + 2], items[2 * count + 3] = 'NX', 'PX', window
  -- To ask is an error where a server of such a version is without it: renamed, for instance.
  local known, may = _G.pcall(
    redis.acl_check_cmd, 'MSETEX', 1, items[1], items[2], 'NX', 'PX', window
  )
  at_once = not twice and known and may and pcall('MSETEX', count, unpack(items)) == 1
end

if #KEYS == DEDUP then
  for i = 1, count do new[i] = stamp .. ARGV[FIRST + i - 1] end
elseif at_once then
  for i = 1, count do new[i], new_keys[i] = stamp .. ARGV[FIRST + i - 1], KEYS[DEDUP + i] end
else
  for i = 1, count do
    local e, key = ARGV[FIRST + i - 1], KEYS[DEDUP + i]
    local value, mode, fresh = sub(e, 12, 35), byte(e, 3), nil
    if mode == 87 or mode == 68 then value = value .. sub(e, 65, 86) end
    if window == '0' then
      fresh = call('SET', key, value, 'NX')
    else
      fresh = call('SET', key, value, 'NX', 'PX', window)
    end
    if fresh then
      new_keys[#new_keys + 1] = key
      new[#new + 1] = stamp .. e
    else
      local first = pcall('GET', key)
      if type(first) ~= 'string' then
        broken = first
        break
      end
      local differs = #first > 24 and #value > 24 and sub(first, 25) ~= sub(value, 25)
      answer = answer or {}
      answer[#answer + 1] = (i - 1) .. (differs and '!' or '=') .. sub(first, 1, 24)
    end
  end
end

local length, total = 0, 0
if not broken and #new > 0 then
  length = pcall('RPUSH', ready, unpack(new))
  if type(length) == 'table' then length, broken = 0, length end
end
if not broken and #new > 0 then
  total = pcall('HINCRBY', stats, 'published', #new)
  if type(total) == 'table' then broken, by_stats = total, true end
end
if not broken and answer then
  local sum = pcall('HINCRBY', stats, 'duplicates', #answer)
  if type(sum) == 'table' then
    if #new > 0 then call('HINCRBY', stats, 'published', -#new) end
    broken, by_stats = sum, true
  end
end
if broken then
  if length > #new then
    call('LTRIM', ready, 0, -#new - 1)
  elseif length > 0 then
    call('DEL', ready)
  end
  for i = 1, #new_keys do call('DEL', new_keys[i]) end
  if before == nil then
    call('DECR', lane)
  elseif before then
    call('SET', lane, before, 'PX', '3600000')
  else
    call('DEL', lane)
  end
  -- Stats that are not ours; else what Redis refuses for another reason, such as a missing right.
  if by_stats and (string.find(broken.err, 'WRONGTYPE', 1, true)
    or string.find(broken.err, 'not an integer', 1, true)) then
    return { err = 'TRMQ_CORRUPT stats' }
  end
  return broken
end
if ring and #new > 0 then call('RPUSH', bell, '1') end
-- With a lane's first call, and once an hour: for redrive, which may know nothing but our name.
if before ~= nil and window ~= '0' then call('HSET', stats, 'window', window) end
local told = ''
if before ~= nil then
  -- include: epoch
  local now = sub(stamp, 2)
  local epoch = epoch_made(stats, now)
  told = epoch and epoch_told(epoch, now, before and 0 or n) or ''
elseif not answer then
  return total
end
local text = answer and table.concat(answer, ',') or ''
if answer then
  -- include: lane
  lane_leave(lane, ARGV[1], text)
end
return { 'new', text, lost, total, told }
