-- promote: make delayed messages ready before their time.
-- include: lane head
--
-- KEYS  lane high normal low delayed bell meta
-- ARGV  n from limit id...
--       from   how many delayed messages to pass over, those that are due first
--       limit  how many to look at
--       id     only these; all, where none is given
-- Reply { status, answer }
--       answer  "<promoted> <looked at>"
local lane, ready, delayed = KEYS[1], { KEYS[2], KEYS[3], KEYS[4] }, KEYS[5]
local bell, meta = KEYS[6], KEYS[7]
local from, limit = tonumber(ARGV[2]), tonumber(ARGV[3])
local FIRST = 4
local state, _, stored = lane_enter(lane, tonumber(ARGV[1]))
if state ~= 'new' then return { state, stored } end

local wanted = {}
for i = FIRST, #ARGV do wanted[ARGV[i]] = true end
local found = redis.call('ZRANGE', delayed, from, from + limit - 1)
local moved, back = {}, { {}, {}, {} }
for _, e in ipairs(found) do
  if #ARGV < FIRST or wanted[head_id(e)] then
    moved[#moved + 1] = e
    local list = back[head_priority(e)]
    list[#list + 1] = e
  end
end
local bell_before = redis.call('LLEN', bell)
local paused = redis.call('HGET', meta, 'paused') == '1'
for p = 1, 3 do redis.call('LLEN', ready[p]) end

for p = 1, 3 do
  if #back[p] > 0 then redis.call('RPUSH', ready[p], unpack(back[p])) end
end
if #moved > 0 then redis.call('ZREM', delayed, unpack(moved)) end
if #moved > 0 and bell_before == 0 and not paused then redis.call('RPUSH', bell, '1') end
local answer = #moved .. ' ' .. #found
lane_leave(lane, ARGV[1], answer)
return { state, answer }
