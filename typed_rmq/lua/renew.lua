-- renew: keep a session's lease while its consumer is busy with a message.
--
-- KEYS  sessions
-- ARGV  session lease full prefix
-- Reply 1, or 0 where the session was reaped
--
-- Doing it twice does no harm, so the call needs no lane and can go beside one.
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if ARGV[3] == 'full' then redis.call('DEL', ARGV[4] .. 'none') end
redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
return 1
