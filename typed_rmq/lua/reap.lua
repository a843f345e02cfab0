-- reap: give back what a session held whose lease has run out.
-- include: lane counters head dedup bury
--
-- KEYS  lane inflight sessions stats meta bell suspects dead dead_ids
-- ARGV  session max_attempts prefix keep_dead full
-- Reply { state, returned, buried }
--       state     reaped, part (call again), renewed, or gone
--       returned  ids that wait again
--       buried    ids that are dead letters now
--
-- A message that was held alone is the only one that can have brought the session down: the crash
-- counts as an attempt. Of several nobody knows which it was: they come back uncounted. Both come
-- back as suspects, and a suspect is delivered alone, so that no message drags its neighbours
-- down. A late duplicate finds no session and does nothing, so the call needs no lane of its own. The
-- lane is the session's: it gets a space behind its number, which closes the short way of cycle. The
-- entry in sessions goes last: until then the owner's verdicts count.
local lane, inflight, sessions, stats, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local bell, suspects, dead, dead_ids = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local session, max_attempts = ARGV[1], tonumber(ARGV[2])
local prefix, keep_dead = ARGV[3], tonumber(ARGV[4])

local now = now_ms()
local deadline = redis.call('ZSCORE', sessions, session)
if not deadline then return { 'gone', {}, {} } end
if tonumber(deadline) > now then return { 'renewed', {}, {} } end

local number = redis.call('GET', lane)
local size = redis.call('HLEN', inflight)
local pairs_
if size <= 1000 then
  pairs_ = redis.call('HGETALL', inflight)
else
  pairs_ = redis.call('HSCAN', inflight, '0', 'COUNT', 1000)[2]
end
local fields, envelopes = {}, {}
local count = math.min(#pairs_ / 2, 2000)
-- Whoever is left for the next call was not held alone, and must not look like it.
if count < size then count = math.min(count, size - 2) end
for i = 1, 2 * count, 2 do
  fields[#fields + 1] = pairs_[i]
  envelopes[#envelopes + 1] = pairs_[i + 1]
end
-- Oldest first: the stamp and the id begin the envelope.
table.sort(envelopes)

local back, letters, returned, buried = {}, {}, {}, {}
for _, e in ipairs(envelopes) do
  local attempt = head_readable(e) and head_attempt(e)
  if not attempt or head_worn(e) then
    letters[#letters + 1] = { e, 'its head is damaged, or it was delivered 999,999 times' }
  elseif size == 1 and attempt >= max_attempts then
    letters[#letters + 1] = {
      e, 'its consumer crashed or lost its lease in attempt ' .. attempt .. ' of ' .. max_attempts,
    }
    buried[#buried + 1] = head_id(e)
  else
    back[#back + 1] = head_next(e, size == 1 and attempt + 1 or attempt, 's')
    returned[#returned + 1] = head_id(e)
  end
end
local freed = {}
for _, letter in ipairs(letters) do freed[#freed + 1] = letter[1] end
local owned = dedup_owned(prefix, freed)
redis.call('LLEN', suspects)
local bell_before = redis.call('LLEN', bell)
local paused = redis.call('HGET', meta, 'paused') == '1'
local failed = size == 1 and 1 or 0
local sums = counters_read(stats, {
  failed = failed, retried = size == 1 and #back or 0, dead_lettered = #letters,
  dropped = #letters > 0 and bury_excess(dead, dead_ids, #letters, keep_dead) or 0,
})

if ARGV[5] == 'full' then redis.call('DEL', prefix .. 'none') end
if number and not string.find(number, ' ', 1, true) then lane_leave(lane, number .. ' ', '') end
for _, letter in ipairs(letters) do bury(dead, dead_ids, letter) end
for i = #back, 1, -1 do redis.call('LPUSH', suspects, back[i]) end
if #fields > 0 then
  for i = 1, #fields, 1000 do
    redis.call('HDEL', inflight, unpack(fields, i, math.min(i + 999, #fields)))
  end
end
dedup_free(owned)
if #letters > 0 then bury_trim(dead, dead_ids, keep_dead) end
counters_write(stats, sums)
if #back > 0 and bell_before == 0 and not paused then redis.call('RPUSH', bell, '1') end
if size > #fields then return { 'part', returned, buried } end
redis.call('ZREM', sessions, session)
return { 'reaped', returned, buried }
