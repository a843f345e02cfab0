-- control: pause or resume a queue.
-- include: lane
--
-- KEYS  lane meta bell
-- ARGV  n paused
--       paused  1 to pause, 0 to resume
-- Reply { status }
--
-- Resuming rings the bell: idle consumers sleep until somebody does. Both must pass when Redis is
-- out of memory, so the first write is one that it never refuses.
local state = lane_enter(KEYS[1], tonumber(ARGV[1]))
if state ~= 'new' then return { state } end
local bell_before = redis.call('LLEN', KEYS[3])
if ARGV[2] == '1' then
  redis.call('HDEL', KEYS[2], 'none')
  redis.call('HSET', KEYS[2], 'paused', '1')
else
  redis.call('HDEL', KEYS[2], 'paused')
  if bell_before == 0 then redis.call('RPUSH', KEYS[3], '1') end
end
lane_leave(KEYS[1], ARGV[1], '')
return { state }
