-- short: the short way of cycle, a third of the long one's time.
--
-- A piece of that script, not a library: it reads the KEYS and ARGV that cycle.lua has taken apart,
-- and returns the call's reply, or leaves it to the long way behind it.
--
-- It is for what nearly all calls of a busy consumer are: acks of what it holds, and a claim where
-- only messages of normal priority are ready. What is not so leaves it with everything as it was,
-- and goes the long way.
--
-- It is open while the lane holds a bare number: a session that was reaped finds it closed. Its
-- first write tells whether the number is the right one. In a slot that moves to another node it
-- is never taken, as Redis refuses the whole call where one of its keys is absent.
--
-- Messages that are delayed do not close it, unless one is due soon: within the time that nobody
-- sleeps longer than ("busy" below), and a second that the clock is not asked for here.
local beside = n > 1 and (way == 'short' or way == 'woken')
  and redis.call('EXISTS', high, low, suspects, delayed, meta)
if beside == 1 then
  local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
  if first and tonumber(first) > tonumber(redis.call('TIME')[1]) * 1000 + 16000 then beside = 0 end
end
if beside == 0 and redis.call('HLEN', inflight) == held and acks <= held
  and (way == 'short' or redis.call('LLEN', bell)) then
  local entered = redis.pcall('INCR', lane)
  if type(entered) == 'number' then
    local items = entered == n and redis.pcall('LPOP', normal, ARGV[2])
    local popped = items and not items.err
    local good, pairs_, seen = popped, {}, {}
    if popped then
      if held == acks then
        for i = FIRST, FIRST + acks - 1 do seen[ARGV[i]] = true end
      end
      for i = 1, #items do
        local e = items[i]
        local field = sub(e, 26, 56)
        if #field < 31 or byte(field, 25) ~= 58 or byte(e, 1) ~= 49 or seen[field] then
          good = false
          break
        end
        seen[field] = true
        pairs_[2 * i - 1], pairs_[2 * i] = field, e
      end
      if good and held > acks then
        local fields = {}
        for i = 1, #items do fields[i] = pairs_[2 * i - 1] end
        local present = redis.call('HMGET', inflight, unpack(fields))
        for i = 1, #items do good = good and not present[i] end
      end
      if good and acks > 0 then
        good = type(redis.pcall('HINCRBY', stats, 'completed', acks)) == 'number'
      end
    end
    if good then
      -- What was popped is nowhere now: were this to end the call, it would be lost.
      good = type(redis.pcall('HSET', inflight, unpack(pairs_))) == 'number'
      if not good and acks > 0 then redis.call('HINCRBY', stats, 'completed', -acks) end
    end
    if good then
      if acks > 0 then redis.call('HDEL', inflight, unpack(ARGV, FIRST, FIRST + acks - 1)) end
      -- The ring that woke this consumer may have been for others, too.
      if way == 'woken' and #items == tonumber(ARGV[2]) and redis.call('LLEN', normal) > 0
        and redis.call('LLEN', bell) == 0 then
        redis.call('RPUSH', bell, '1')
      end
      return items
    end
    if popped then
      for i = #items, 1, -1 do redis.call('LPUSH', normal, items[i]) end
    end
    if entered == 1 then redis.call('DEL', lane) else redis.call('DECR', lane) end
  end
end
