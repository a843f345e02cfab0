-- consumers: the sessions that are registered, and what each of them holds.
--
-- KEYS  sessions
-- ARGV  prefix limit some
--       limit  how many sessions, those whose lease ends first
--       some   how many ids of messages to tell of each
-- Reply items of { session, left, held, ids }
--       left  ms until the lease runs out, by Redis's clock; negative where it has
--       ids   in their order
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local items = {}
local sessions = redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1, 'WITHSCORES')
for i = 1, #sessions, 2 do
  local fields = redis.call('HKEYS', ARGV[1] .. 'inflight:' .. sessions[i])
  table.sort(fields)
  local ids = {}
  for j = 1, math.min(#fields, tonumber(ARGV[3])) do ids[j] = string.sub(fields[j], 1, 24) end
  items[#items + 1] = { sessions[i], tonumber(sessions[i + 1]) - now, #fields, ids }
end
return items
