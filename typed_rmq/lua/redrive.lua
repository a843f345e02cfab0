-- redrive: put dead letters back, as new: attempt one, at the end of their ready list.
-- include: lane head dedup bury
--
-- KEYS  lane high normal low dead dead_ids bell meta stats
-- ARGV  n prefix window after limit id...
--       window  dedup window in ms that a message takes its key back for; 0 for the one that the
--               queue was last published to with, an hour where that is not known
--       after   without ids: only letters behind this stream id, or "-" for the first
--       limit   without ids: how many letters to look at
-- Reply { status, answer }
--       answer  "<redriven> <looked at> <last stream id> <conflicts>", conflicts as
--               "<id>=<id of the holder>" joined by commas
--
-- A letter stays where it is when another message holds its dedup key, or when it is no message.
local lane, ready, dead, dead_ids = KEYS[1], { KEYS[2], KEYS[3], KEYS[4] }, KEYS[5], KEYS[6]
local bell, meta, stats = KEYS[7], KEYS[8], KEYS[9]
local n, prefix, window = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local FIRST = 6
local state, _, stored = lane_enter(lane, n)
if state ~= 'new' then return { state, stored } end

local entries, total = {}, redis.call('XLEN', dead)
redis.call('HLEN', dead_ids) -- a key of the wrong type must fail here, before the first write
if #ARGV >= FIRST then
  local at, seen = redis.call('HMGET', dead_ids, unpack(ARGV, FIRST)), {}
  for i = 1, #ARGV - FIRST + 1 do
    if at[i] and not seen[at[i]] then
      seen[at[i]] = true
      entries[#entries + 1] = redis.call('XRANGE', dead, at[i], at[i])[1]
    end
  end
else
  local from = ARGV[4] == '-' and '-' or '(' .. ARGV[4]
  entries = redis.call('XRANGE', dead, from, '+', 'COUNT', ARGV[5])
end
local last = #entries > 0 and entries[#entries][1] or '-'

local moved, keys, takes, taken, conflicts = {}, {}, {}, {}, {}
local back = { {}, {}, {} }
for _, entry in ipairs(entries) do
  local e = entry[2][2]
  if head_readable(e) and not head_worn(e) then
    local key = dedup_key(prefix, e)
    local holder = key and (taken[key] or redis.call('GET', key))
    if holder and string.sub(holder, 1, 24) ~= head_id(e) then
      conflicts[#conflicts + 1] = head_id(e) .. '=' .. string.sub(holder, 1, 24)
    else
      if key then
        taken[key] = dedup_value(e)
        takes[#takes + 1] = { key, dedup_value(e), dedup_until_done(e) }
      end
      moved[#moved + 1] = entry
      local list = back[head_priority(e)]
      list[#list + 1] = head_next(e, 1, '-')
    end
  end
end
local bell_before = redis.call('LLEN', bell)
local paused = redis.call('HGET', meta, 'paused') == '1'
for p = 1, 3 do redis.call('LLEN', ready[p]) end
local published = redis.call('HGET', stats, 'window')
if window == '0' then window = published or '3600000' end

for _, take in ipairs(takes) do
  if take[3] then
    redis.call('SET', take[1], take[2])
  else
    redis.call('SET', take[1], take[2], 'PX', window)
  end
end
for p = 1, 3 do
  if #back[p] > 0 then redis.call('RPUSH', ready[p], unpack(back[p])) end
end
bury_forget(dead, dead_ids, moved, total)
if #moved > 0 and bell_before == 0 and not paused then redis.call('RPUSH', bell, '1') end
local answer = #moved .. ' ' .. #entries .. ' ' .. last .. ' ' .. table.concat(conflicts, ',')
lane_leave(lane, ARGV[1], answer)
return { state, answer }
