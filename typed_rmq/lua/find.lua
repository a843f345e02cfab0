-- find: look for one message by its id, in a stretch of one state.
--
-- KEYS  high normal low suspects delayed sessions dead dead_ids done
-- ARGV  prefix state id after limit
--       after  where the last call stopped; "" for the beginning
--       limit  how many messages to look at
-- Reply { after, items }
--       after  where to go on; "" where nothing is left
--       items  what was found, as in peek
--
-- Dead letters have an index. The rest is walked, a bounded stretch a call.
local prefix, state, id, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
local skip = tonumber(ARGV[4]) or 0
local function is_it(e) return string.sub(e, 26, 49) == id end

if state == 'dead' then
  local at = redis.call('HGET', KEYS[8], id)
  local entry = at and redis.call('XRANGE', KEYS[7], at, at)[1]
  if not entry then return { '', {} } end
  local fields = entry[2]
  local error = fields[5] == 'x' and fields[6] or nil
  return { '', { { fields[2], entry[1], fields[4], error } } }
elseif state == 'in_flight' then
  -- At most 1,000 in each session's hands.
  local step = math.ceil(limit / 100)
  local sessions = redis.call('ZRANGE', KEYS[6], skip, skip + step - 1)
  for _, session in ipairs(sessions) do
    local held = prefix .. 'inflight:' .. session
    for _, field in ipairs(redis.call('HKEYS', held)) do
      if string.sub(field, 1, 24) == id then
        return { '', { { redis.call('HGET', held, field), session } } }
      end
    end
  end
  return { #sessions < step and '' or tostring(skip + step), {} }
elseif state == 'ready' then
  local seen, left = 0, skip
  for _, list in ipairs({ KEYS[4], KEYS[1], KEYS[2], KEYS[3] }) do
    if seen < limit then
      local found = redis.call('LRANGE', list, left, left + limit - seen - 1)
      for i = 1, #found do
        if is_it(found[i]) then return { '', { { found[i], '' } } } end
      end
      seen = seen + #found
      if left > 0 then left = math.max(0, left - redis.call('LLEN', list)) end
    end
  end
  return { seen < limit and '' or string.format('%.0f', skip + seen), {} }
elseif state == 'delayed' then
  local found = redis.call('ZRANGE', KEYS[5], skip, skip + limit - 1, 'WITHSCORES')
  for i = 1, #found, 2 do
    if is_it(found[i]) then return { '', { { found[i], found[i + 1] } } } end
  end
  return { #found < 2 * limit and '' or string.format('%.0f', skip + limit), {} }
end
local from = ARGV[4] == '' and '+' or '(' .. ARGV[4]
local entries = redis.call('XREVRANGE', KEYS[9], from, '-', 'COUNT', limit)
for _, entry in ipairs(entries) do
  if is_it(entry[2][2]) then return { '', { { entry[2][2], entry[1], entry[2][4] } } } end
end
return { #entries < limit and '' or entries[#entries][1], {} }
