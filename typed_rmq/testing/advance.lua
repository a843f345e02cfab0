-- advance: time passes for everything in this database. For tests only.
--
-- KEYS  none: it looks at all of them
-- ARGV  ms
-- Reply how many keys it has changed
--
-- Redis's clock cannot be moved, so every moment that is still to come moves nearer: due times,
-- lease deadlines, and what keys have left to live. Then the bell rings, as idle consumers sleep
-- until a moment that is nearer now: once for each of them, as each keeps a lease.
local ms, changed = tonumber(ARGV[1]), 0

local function nearer(key)
  local found = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for i = 1, #found, 2 do
    redis.call('ZADD', key, 'XX', string.format('%.0f', tonumber(found[i + 1]) - ms), found[i])
  end
  return #found / 2
end

local keys, cursor = {}, '0'
repeat
  local page = redis.call('SCAN', cursor, 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do keys[key] = true end -- SCAN may name a key twice
until cursor == '0'

for key in pairs(keys) do
  -- A lane goes by Redis's clock, which stands still: without it, data would seem to be lost.
  local left = string.find(key, ':lane:', 1, true) and -1 or redis.call('PTTL', key)
  if left >= 0 then
    if left > ms then redis.call('PEXPIRE', key, left - ms) else redis.call('DEL', key) end
    changed = changed + 1
  end
  local queue, part = string.match(key, '^(trmq:{[^}]*}:)([a-z]+)$')
  if part == 'delayed' then
    changed = changed + math.min(nearer(key), 1)
    if redis.call('LLEN', queue .. 'bell') == 0 then redis.call('RPUSH', queue .. 'bell', '1') end
  elseif part == 'sessions' then
    local sessions = nearer(key)
    changed = changed + math.min(sessions, 1)
    for _ = redis.call('LLEN', queue .. 'bell') + 1, sessions do
      redis.call('RPUSH', queue .. 'bell', '1')
    end
  elseif part == 'meta' then
    local blocked = tonumber(redis.call('HGET', key, 'blocked') or '')
    if blocked then redis.call('HSET', key, 'blocked', string.format('%.0f', blocked - ms)) end
  end
end
return changed
