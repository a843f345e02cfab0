-- control: pause or resume a queue.
-- include: lane
--
-- KEYS  lane meta bell
-- ARGV  n paused
-- Reply { status }
--
-- Resuming rings the bell: idle consumers sleep until somebody does.
local state = lane_enter(KEYS[1], tonumber(ARGV[1]))
if state ~= 'new' then return { state } end
local bell_before = redis.call('LLEN', KEYS[3])
redis.call('HSET', KEYS[2], 'paused', ARGV[2])
if ARGV[2] == '0' and bell_before == 0 then redis.call('RPUSH', KEYS[3], '1') end
lane_leave(KEYS[1], tonumber(ARGV[1]), '')
return { state }
