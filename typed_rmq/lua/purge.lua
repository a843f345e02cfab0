-- purge: delete ready and delayed messages, at most 1,000 a call, and free their dedup keys.
-- include: lane head dedup counters
--
-- KEYS  lane high normal low suspects delayed bell meta room stats
-- ARGV  n prefix limit
-- Reply { status, deleted, left }
--
-- What is deleted is counted, so that an audit can tell it from what was lost.
local lane, delayed, bell, meta, room = KEYS[1], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local n, prefix, limit = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local state, _, stored = lane_enter(lane, n)
local lists = { KEYS[2], KEYS[3], KEYS[4], KEYS[5] }
if state ~= 'new' then
  local deleted, left = string.match(stored, '^(%d+) (%d+)$')
  return { state, tonumber(deleted or 0), tonumber(left or 0) }
end

local gone, cut, total, free = {}, {}, 0, limit
for _, list in ipairs(lists) do
  total = total + redis.call('LLEN', list)
  if free > 0 then
    local items = redis.call('LRANGE', list, 0, free - 1)
    for _, e in ipairs(items) do gone[#gone + 1] = e end
    if #items > 0 then cut[#cut + 1] = { list, #items } end
    free = free - #items
  end
end
total = total + redis.call('ZCARD', delayed)
local due = free > 0 and redis.call('ZRANGE', delayed, 0, free - 1) or {}
for _, e in ipairs(due) do gone[#gone + 1] = e end
local owned = dedup_owned(prefix, gone)
redis.call('LLEN', bell) -- a key of the wrong type must fail here, before the first write
local waiting = tonumber(redis.call('HGET', meta, 'blocked') or '0') or 0
local purged = 0
for _, e in ipairs(gone) do
  if head_readable(e) then purged = purged + 1 end
end
local sums = counters_read(KEYS[10], { purged = purged })
local wake = #gone > 0 and waiting > now_ms() and redis.call('LLEN', room) == 0

for _, c in ipairs(cut) do redis.call('LTRIM', c[1], c[2], -1) end
if #due > 0 then redis.call('ZREMRANGEBYRANK', delayed, 0, #due - 1) end
dedup_free(owned)
counters_write(KEYS[10], sums)
local left = total - #gone
if left == 0 then redis.call('DEL', bell) end
if wake then
  redis.call('RPUSH', room, '1')
  redis.call('PEXPIRE', room, 60000)
end
lane_leave(lane, ARGV[1], #gone .. ' ' .. left)
return { state, #gone, left }
