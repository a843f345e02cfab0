-- dead_purge: delete all dead letters.
-- include: lane counters
--
-- KEYS  lane dead dead_ids stats
-- ARGV  n
-- Reply { status, deleted }
local n = tonumber(ARGV[1])
local state, _, stored = lane_enter(KEYS[1], n)
if state ~= 'new' then return { state, tonumber(stored) or 0 } end
local count = redis.call('XLEN', KEYS[2])
-- The index holds what was published; the stream also foreign bytes.
local sums = counters_read(KEYS[4], { purged = redis.call('HLEN', KEYS[3]) })
redis.call('UNLINK', KEYS[2], KEYS[3])
counters_write(KEYS[4], sums)
lane_leave(KEYS[1], ARGV[1], tostring(count))
return { state, count }
