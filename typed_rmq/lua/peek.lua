-- peek: look at messages without taking them.
--
-- KEYS  high normal low suspects delayed sessions dead done
-- ARGV  prefix state limit after
--       after  the stream id that the page starts behind, of dead and done; else how many
--              messages lie before it; "" for the beginning
-- Reply items of { envelope, what is known beside it }
--       ready      ""
--       delayed    due in ms
--       in_flight  session
--       dead       stream id, reason, error if one was seen
--       done       stream id, duration in ms
local prefix, state, limit, after = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local skip = tonumber(after) or 0
local items = {}
if state == 'ready' then
  for _, list in ipairs({ KEYS[4], KEYS[1], KEYS[2], KEYS[3] }) do
    if #items < limit then
      local found = redis.call('LRANGE', list, skip, skip + limit - #items - 1)
      for i = 1, #found do items[#items + 1] = { found[i], '' } end
      if skip > 0 then skip = math.max(0, skip - redis.call('LLEN', list)) end
    end
  end
elseif state == 'delayed' then
  local found = redis.call('ZRANGE', KEYS[5], skip, skip + limit - 1, 'WITHSCORES')
  for i = 1, #found, 2 do items[#items + 1] = { found[i], found[i + 1] } end
elseif state == 'in_flight' then
  for _, session in ipairs(redis.call('ZRANGE', KEYS[6], 0, -1)) do
    local held = prefix .. 'inflight:' .. session
    local size = skip > 0 and redis.call('HLEN', held) or 0
    if size > 0 and size <= skip then
      skip = skip - size
    elseif #items < limit then
      local found = redis.call('HVALS', held)
      table.sort(found)
      for i = skip + 1, math.min(#found, skip + limit - #items) do
        items[#items + 1] = { found[i], session }
      end
      if #found > 0 then skip = 0 end
    end
  end
else
  local log = state == 'dead' and KEYS[7] or KEYS[8]
  -- The newest first: of what has ended, that is what one looks for.
  local from = after == '' and '+' or '(' .. after
  for _, entry in ipairs(redis.call('XREVRANGE', log, from, '-', 'COUNT', limit)) do
    local fields = entry[2]
    local error = fields[5] == 'x' and fields[6] or nil
    items[#items + 1] = { fields[2], entry[1], fields[4], error }
  end
end
return items
