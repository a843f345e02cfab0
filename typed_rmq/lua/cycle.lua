-- cycle: settle what a consumer decided, renew its lease, and hand it what it can take.
--
-- KEYS  lane inflight stats normal high low suspects delayed meta bell
-- ARGV  n want held acks way options field... { kind field a b c }...
--       want        how many messages it can take, 0 to 1,000
--       held        how many it holds in its own view, before this call
--       acks        how many plain acks follow, each the field of its message
--       way         long; short or woken where only acks are settled and the lease needs no
--                   renewal yet, see short.lua; full where Redis was out of memory at the first try
--       options     "<session> <lease> <keep_dead> <keep_done> <closing> <prefix>": lease in ms
--                   until the session counts as crashed; closing is 1 where it ends here
--       kind        a done (a: its duration in ms), r retry (a: delay in ms), R release,
--                   d dead (a: reason, b: error, c: traceback)
-- Reply { status, wait, answer, lost, drain, expired, envelopes, told }, or envelopes alone by a
--       short way
--       status      new, again, old, or lost
--       wait        ms until something is due, -1 where nothing is known to come
--       answer      stale fields joined by commas; a "!" in front where the session was reaped
--       lost        how many confirmed calls of this lane Redis has forgotten
--       drain       1 where a crash suspect waits for a session with empty hands
--       expired     sessions whose lease has run out
--       envelopes   what was claimed; of again and lost: all that the session holds
--       told        only where the lane is not known: which life of the queue this is, see epoch.lua
--
-- An answer that got lost is stored with the lane: the repeated call gets it, with "<lost>?" in
-- front in Redis where operations were lost.
--
-- Redis refuses a script's first write when it is out of memory, if that write could need more.
-- Acks and claims must go through all the same: by the way "full" the first write is a DEL.
local lane, inflight, stats, normal = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local high, low, suspects, delayed, meta = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local bell = KEYS[10]
local n, held, acks, way = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local FIRST = 7
local byte, sub = string.byte, string.sub

-- include: short

-- The long way.
-- include: lane counters
local want, full = tonumber(ARGV[2]), way == 'full'
local session, lease, keep_dead, keep_done, closing, prefix =
  string.match(ARGV[6], '^(%S+) (%d+) (%d+) (%d+) (%d) (%S+)$')
lease, keep_dead, keep_done = tonumber(lease), tonumber(keep_dead), tonumber(keep_done)
closing = closing == '1'
local ready, sessions, room = { high, normal, low }, prefix .. 'sessions', prefix .. 'room'
local dead, dead_ids, done = prefix .. 'dead', prefix .. 'dead:ids', prefix .. 'done'
local COLLISION = 'another copy of this message is being delivered'

local now = now_ms()
local state, lost, stored, unknown = lane_enter(lane, n)
if state == 'old' then return { state, -1, '', 0, 0, {}, {} } end
if state == 'again' then
  local mine, alive = redis.call('HVALS', inflight), redis.call('ZSCORE', sessions, session)
  if full then redis.call('DEL', prefix .. 'none') end
  redis.call('ZADD', sessions, 'XX', string.format('%.0f', now + lease), session)
  -- What the first try took may belong to others by now.
  local losses, rest = string.match(stored, '^(%d+)%?(.*)$')
  if losses then state, lost, stored = 'lost', tonumber(losses), rest end
  if not alive and not closing and string.sub(stored, 1, 1) ~= '!' then stored = '!' .. stored end
  return { state, 0, stored, lost, 0, {}, mine }
end

-- 1. Read what there is.
local size = redis.call('HLEN', inflight)
local score = redis.call('ZSCORE', sessions, session)
local reaped = not score and n > 1 and size == 0
-- Most queues have messages of normal priority that are ready, and nothing else: one question
-- then stands for four.
local others_there = redis.call('EXISTS', ready[1], ready[3], suspects, delayed) > 0
local lengths, suspects_before, earliest = { 0, redis.call('LLEN', ready[2]), 0 }, 0, {}
if others_there then
  lengths[1], lengths[3] = redis.call('LLEN', ready[1]), redis.call('LLEN', ready[3])
  suspects_before = redis.call('LLEN', suspects)
  earliest = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
end
local marks = redis.call('HMGET', meta, 'paused', 'blocked')
local paused, blocked = marks[1] == '1', (tonumber(marks[2] or '0') or 0) > now
local bell_before = redis.call('LLEN', bell)
local epoch = unknown and redis.pcall('HGET', stats, 'epoch')
local next_due = tonumber(earliest[2])

local expired, next_lease = {}, nil
local others = redis.call('ZRANGE', sessions, 0, 1, 'WITHSCORES')
if others[2] and tonumber(others[2]) <= now then
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', sessions, '-inf', now, 'LIMIT', 0, 11)) do
    if name ~= session then expired[#expired + 1] = name end
  end
  others = redis.call('ZRANGEBYSCORE', sessions, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 2)
end
for i = 1, #others, 2 do
  if others[i] ~= session and not next_lease then next_lease = tonumber(others[i + 1]) end
end

-- 2. The verdicts. Where the session holds just what it believes to hold, none can be stale. A
-- consumer may count while its verdicts are being recorded, so the size must make sense as well.
local trusted = size == held and acks <= size and lost == 0 and not reaped
local settled, stale = {}, {}
local none = {} -- stands for every list that nothing has been put in yet
local front, back, suspected = { none, none, none }, { none, none, none }, none
local letters, freed, finished, later = {}, {}, {}, {}
local completed, failed, retried, released = 0, 0, 0, 0
if acks > 0 then
  if trusted then
    settled = { unpack(ARGV, FIRST, FIRST + acks - 1) }
  else
    local present = redis.call('HMGET', inflight, unpack(ARGV, FIRST, FIRST + acks - 1))
    for i = 1, acks do
      local field = ARGV[FIRST + i - 1]
      if present[i] then settled[#settled + 1] = field else stale[#stale + 1] = field end
    end
  end
  completed = #settled
end
local first_verdict = FIRST + acks
if first_verdict <= #ARGV then
  -- include: head dedup
  local verdict_fields = {}
  front, back, suspected = { {}, {}, {} }, { {}, {}, {} }, {}
  for i = first_verdict, #ARGV, 5 do verdict_fields[#verdict_fields + 1] = ARGV[i + 1] end
  local verdict_envelopes, judged = redis.call('HMGET', inflight, unpack(verdict_fields)), {}
  for _, field in ipairs(settled) do judged[field] = true end
  for j, field in ipairs(verdict_fields) do
    local e, at = verdict_envelopes[j], first_verdict + 5 * (j - 1)
    local kind, a = ARGV[at], ARGV[at + 2]
    if not e or judged[field] then
      stale[#stale + 1] = field
    else
      judged[field] = true
      settled[#settled + 1] = field
      if kind ~= 'a' and kind ~= 'd' and (not head_readable(e) or head_worn(e)) then
        kind, a = 'd', 'its head is damaged, or it was delivered 999,999 times'
      end
      if kind == 'a' then
        completed = completed + 1
        finished[#finished + 1] = { e, a }
        if head_ok(e) and dedup_until_done(e) then freed[#freed + 1] = e end
      elseif kind == 'r' then
        failed, retried = failed + 1, retried + 1
        local again = head_next(e, head_attempt(e) + 1, '-')
        local delay = tonumber(a)
        if delay > 0 then
          later[#later + 1] = string.format('%.0f', now + delay)
          later[#later + 1] = again
          if not next_due or now + delay < next_due then next_due = now + delay end
        else
          local list = back[head_priority(e)]
          list[#list + 1] = again
        end
      elseif kind == 'R' then
        released = released + 1
        local again = head_next(e, head_attempt(e), head_suspect(e) and 's' or '-')
        local list = head_suspect(e) and suspected or front[head_priority(e)]
        list[#list + 1] = again
      else
        failed = failed + 1
        freed[#freed + 1] = e
        letters[#letters + 1] = { e, a, ARGV[at + 3], ARGV[at + 4] }
      end
    end
  end
end
for p = 1, 3 do
  -- To the front, the oldest first: their envelopes begin with the time of publishing.
  if #front[p] > 1 then table.sort(front[p]) end
end
if #suspected > 1 then table.sort(suspected) end
local due_moved = next_due and (not earliest[2] or next_due < tonumber(earliest[2]))
local remaining = size - #settled

-- 3. What the consumer can take: suspects alone, else the ready lists in their order.
local claims = want > 0 and not paused and not reaped and lost == 0 and not closing
local claimed, pairs_, seen, drain = {}, {}, {}, 0
local front_from, back_from = { 1, 1, 1 }, { 1, 1, 1 } -- what is before was claimed
local from_list, due_count, suspect_taken = { 0, 0, 0 }, 0, 0
local function claim(e)
  if #e < 56 or byte(e, 1) ~= 49 or byte(e, 50) ~= 58 then
    letters[#letters + 1] = { e, 'not a message of typed_rmq' }
    return
  end
  local field = sub(e, 26, 56)
  if seen[field] then
    letters[#letters + 1] = { e, COLLISION, unindexed = true }
    return
  end
  seen[field] = true
  claimed[#claimed + 1] = e
  local at = #pairs_
  pairs_[at + 1], pairs_[at + 2] = field, e
end
-- A claim never overwrites what the session already holds.
if remaining == 0 then
  for i = 1, #settled do seen[settled[i]] = true end
end
if claims and earliest[2] and tonumber(earliest[2]) <= now then
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, math.max(want, 100))
  due_count = #due
  if back[1] == none then back = { {}, {}, {} } end
  for _, e in ipairs(due) do
    local letter = byte(e, 15)
    local list = back[letter == 104 and 1 or letter == 108 and 3 or 2]
    list[#list + 1] = e
  end
  local after = redis.call('ZRANGE', delayed, due_count, due_count, 'WITHSCORES')
  next_due = tonumber(after[2])
  for i = 1, #later, 2 do
    if not next_due or tonumber(later[i]) < next_due then next_due = tonumber(later[i]) end
  end
end
if claims and suspects_before + #suspected > 0 then
  if remaining > 0 then
    drain = 1
  elseif #suspected > 0 then
    claim(table.remove(suspected, 1))
  else
    suspect_taken = 1
    claim(redis.call('LINDEX', suspects, 0))
  end
elseif claims then
  local left = want
  for p = 1, 3 do
    local last = math.min(left, #front[p])
    for i = 1, last do claim(front[p][i]) end
    front_from[p], left = last + 1, left - last
    if left > 0 and lengths[p] > 0 then
      local items = redis.call('LRANGE', ready[p], 0, left - 1)
      for i = 1, #items do claim(items[i]) end
      from_list[p] = #items
      left = left - #items
    end
    last = math.min(left, #back[p])
    for i = 1, last do claim(back[p][i]) end
    back_from[p], left = last + 1, left - last
  end
end
if remaining > 0 and #claimed > 0 then
  local fields = {}
  for i = 1, #claimed do fields[i] = pairs_[2 * i - 1] end
  local present = redis.call('HMGET', inflight, unpack(fields))
  for i = #fields, 1, -1 do
    if present[i] then
      letters[#letters + 1] = { table.remove(claimed, i), COLLISION, unindexed = true }
      table.remove(pairs_, 2 * i)
      table.remove(pairs_, 2 * i - 1)
    end
  end
end
local owned = none
if #freed > 0 then
  -- include: head dedup
  owned = dedup_owned(prefix, freed)
end
local done_before = keep_done > 0 and #finished > 0 and redis.call('XLEN', done)
local room_before = blocked and redis.call('LLEN', room)
local mine = {}
if lost > 0 then
  local gone = {}
  for _, field in ipairs(settled) do gone[field] = true end
  for _, e in ipairs(redis.call('HVALS', inflight)) do
    if not gone[sub(e, 26, 56)] then mine[#mine + 1] = e end
  end
end
local deltas = { completed = completed }
if #stale > 0 then deltas.stale = #stale end
if first_verdict <= #ARGV then
  deltas.failed, deltas.retried, deltas.released = failed, retried, released
end
if #letters > 0 then
  -- include: head bury
  deltas.dead_lettered = #letters
  deltas.dropped = bury_excess(dead, dead_ids, #letters, keep_dead)
end
local sums = counters_read(stats, deltas)

-- All is read and checked: from here on only writes, and copies before removals.
if full then redis.call('DEL', prefix .. 'none') end
if #letters > 0 then
  -- include: head bury
  for _, letter in ipairs(letters) do bury(dead, dead_ids, letter) end
end
if #claimed > 0 then
  -- A session is known before it holds anything: were the call to end below, for a right that the
  -- user lacks, nobody would take back what an unknown session holds.
  redis.call('ZADD', sessions, now + lease, session)
  redis.call('HSET', inflight, unpack(pairs_))
end
if #later > 0 then redis.call('ZADD', delayed, unpack(later)) end
local left_over = 0
for p = 1, 3 do
  local first, last = front_from[p], back_from[p]
  for i = #front[p], first, -1 do redis.call('LPUSH', ready[p], front[p][i]) end
  if last <= #back[p] then redis.call('RPUSH', ready[p], unpack(back[p], last)) end
  left_over = left_over + lengths[p] - from_list[p] + #front[p] - first + #back[p] - last + 2
end
for i = #suspected, 1, -1 do redis.call('LPUSH', suspects, suspected[i]) end
local suspects_left = suspects_before - suspect_taken + #suspected
if done_before then
  -- At most 1,000 entries more than come go in one call, also where the bound was lowered.
  local cap = string.format('%.0f', math.max(keep_done, done_before - 1000))
  for _, item in ipairs(finished) do
    redis.call('XADD', done, 'MAXLEN', cap, '*', 'e', item[1], 'd', item[2])
  end
end
if #settled > 0 then redis.call('HDEL', inflight, unpack(settled)) end
for p = 1, 3 do
  if from_list[p] > 0 then redis.call('LTRIM', ready[p], from_list[p], -1) end
end
if suspect_taken > 0 then redis.call('LTRIM', suspects, 1, -1) end
if due_count > 0 then redis.call('ZREMRANGEBYRANK', delayed, 0, due_count - 1) end
if #owned > 0 then redis.call('DEL', unpack(owned)) end
if #letters > 0 then
  -- include: head bury
  bury_trim(dead, dead_ids, keep_dead)
end
if closing and remaining <= 0 then
  redis.call('ZREM', sessions, session)
elseif not reaped then
  redis.call('ZADD', sessions, now + lease, session)
end
counters_write(stats, sums)
if marks[2] and not blocked then redis.call('HDEL', meta, 'blocked') end

-- 4. The bell: rung while there is work for others, or to tell them of an earlier time.
local work = not paused and left_over + suspects_left > 0
local new_lease_first = not score and not reaped and next_lease and now + lease < next_lease
-- Who takes something does not sleep: what only it knows of the next due time would be known to
-- nobody. Nobody sleeps for longer than 15 s (MAX_WAIT in core.py), so what is due later can wait.
local busy = #claimed > 0 and next_due and next_due - now < 15000
local tell = work or (due_moved and not paused) or new_lease_first or busy
  or (closing and (next_due or next_lease))
if tell and bell_before == 0 then
  redis.call('RPUSH', bell, '1')
elseif not tell and not next_due and bell_before > 0 and (claims or closing) then
  -- Where something is delayed, it may have been rung for an earlier time that others do not know.
  redis.call('DEL', bell)
end
if room_before == 0 and #claimed + #letters > 0 then
  redis.call('RPUSH', room, '1')
  redis.call('PEXPIRE', room, 60000)
end

local wait = -1
local function sooner(at)
  if at and (wait < 0 or at - now < wait) then wait = math.max(0, at - now) end
end
-- Only what this session can take now is due now: else it would ask again and again.
if not paused and drain == 0 then sooner(next_due) end
if claims and drain == 0 and #claimed == 0 and left_over + suspects_left > 0 then sooner(now) end
sooner(next_lease)
local text = (reaped and '!' or '') .. table.concat(stale, ',')
if lost > 0 then
  lane_leave(lane, ARGV[1], string.format('%.0f?%s', lost, text))
  return { 'lost', wait, text, lost, drain, expired, mine }
end
lane_leave(lane, ARGV[1], text)
local told = nil
if unknown and type(epoch) ~= 'table' then
  -- include: epoch
  told = epoch_told(epoch, string.format('%.0f', now), n)
end
return { state, wait, text, 0, drain, expired, claimed, told }
