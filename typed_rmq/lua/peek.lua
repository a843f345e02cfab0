-- peek: look at messages without taking them.
--
-- KEYS  high normal low suspects delayed sessions dead done
-- ARGV  prefix state limit
-- Reply items of { envelope, what is known beside it }
--       ready      ""
--       delayed    due in ms
--       in_flight  session
--       dead       stream id, reason
--       done       stream id, duration in ms
local prefix, state, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local items = {}
if state == 'ready' then
  for _, list in ipairs({ KEYS[4], KEYS[1], KEYS[2], KEYS[3] }) do
    if #items < limit then
      for _, e in ipairs(redis.call('LRANGE', list, 0, limit - #items - 1)) do
        items[#items + 1] = { e, '' }
      end
    end
  end
elseif state == 'delayed' then
  local found = redis.call('ZRANGE', KEYS[5], 0, limit - 1, 'WITHSCORES')
  for i = 1, #found, 2 do items[#items + 1] = { found[i], found[i + 1] } end
elseif state == 'in_flight' then
  for _, session in ipairs(redis.call('ZRANGE', KEYS[6], 0, -1)) do
    if #items < limit then
      local found = redis.call('HVALS', prefix .. 'inflight:' .. session)
      table.sort(found)
      for _, e in ipairs(found) do
        if #items < limit then items[#items + 1] = { e, session } end
      end
    end
  end
else
  local log = state == 'dead' and KEYS[7] or KEYS[8]
  -- The newest first: of what has ended, that is what one looks for.
  for _, entry in ipairs(redis.call('XREVRANGE', log, '+', '-', 'COUNT', limit)) do
    items[#items + 1] = { entry[2][2], entry[1], entry[2][4] }
  end
end
return items
