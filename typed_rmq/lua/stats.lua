-- stats: a queue's contents and counters at one moment.
--
-- KEYS  high normal low suspects delayed sessions dead done meta stats
-- ARGV  prefix
-- Reply { ready, delayed, in_flight, dead, done, oldest, consumers, paused, counters }
--       oldest    age in ms of the oldest ready message, by Redis's clock; 0 where none is ready
--       counters  name and value in turn
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local ready, oldest = 0, nil
for i = 1, 4 do
  ready = ready + redis.call('LLEN', KEYS[i])
  local first = redis.call('LINDEX', KEYS[i], 0)
  local stamp = first and tonumber(string.sub(first, 2, 14))
  if stamp and (not oldest or stamp < oldest) then oldest = stamp end
end
local held, consumers = 0, 0
local sessions = redis.call('ZRANGE', KEYS[6], 0, -1, 'WITHSCORES')
for i = 1, #sessions, 2 do
  held = held + redis.call('HLEN', ARGV[1] .. 'inflight:' .. sessions[i])
  if tonumber(sessions[i + 1]) > now then consumers = consumers + 1 end
end
return {
  ready, redis.call('ZCARD', KEYS[5]), held, redis.call('XLEN', KEYS[7]),
  redis.call('XLEN', KEYS[8]), oldest and math.max(0, now - oldest) or 0, consumers,
  redis.call('HGET', KEYS[9], 'paused') == '1' and 1 or 0, redis.call('HGETALL', KEYS[10]),
}
