-- audit: the heads of all that a queue holds, for a look at whether everything fits.
-- include: head dedup
--
-- KEYS  high normal low suspects delayed sessions dead dead_ids done stats bell
-- ARGV  prefix limit place after
--       limit  how many messages a call may look at
--       place  position of the key to look into, sessions standing for what they hold; 0 for all,
--              where they are no more than limit
--       after  where the last call stopped; "" for the beginning
-- Reply { total, sizes, wrong, counters, places, unheld, unindexed, dangling, after }
--       total      messages in all places, dead letters and logged completions included
--       sizes      of each key
--       wrong      positions of keys that are of the wrong type
--       counters   name and value in turn
--       places     for each position a list of head and detail in turn: none where total is more
--                  than limit and place is 0. Detail: for what is held "<session> <field>", for a
--                  dead letter its stream id, with "u" behind one that is in no index, else ""
--       unheld     ids of messages that must hold their dedup key and do not
--       unindexed  ids of dead letters that the index does not lead to
--       dangling   ids in the index that lead to no dead letter
--       after      where to go on; "" where nothing is left
local prefix, limit, place, after = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local delayed, sessions, dead, dead_ids, done = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local wrong, sizes, bad = {}, {}, {}
local function size(i, reply)
  if type(reply) == 'table' then
    wrong[#wrong + 1], bad[i], reply = i, true, 0
  end
  sizes[i] = reply
end
for i = 1, 4 do size(i, redis.pcall('LLEN', KEYS[i])) end
size(5, redis.pcall('ZCARD', delayed))
size(6, redis.pcall('ZCARD', sessions))
size(7, redis.pcall('XLEN', dead))
size(8, redis.pcall('HLEN', dead_ids))
size(9, redis.pcall('XLEN', done))
size(10, redis.pcall('HLEN', KEYS[10]))
size(11, redis.pcall('LLEN', KEYS[11]))

local names, held = bad[6] and {} or redis.call('ZRANGE', sessions, 0, -1), 0
for _, session in ipairs(names) do
  local count = redis.pcall('HLEN', prefix .. 'inflight:' .. session)
  if type(count) == 'number' then held = held + count end
end
local total = sizes[1] + sizes[2] + sizes[3] + sizes[4] + sizes[5] + held + sizes[7] + sizes[9]
local counters = bad[10] and {} or redis.call('HGETALL', KEYS[10])
local places, unheld, unindexed, dangling, go_on = {}, {}, {}, {}, ''
for i = 1, 9 do places[i] = {} end

local function see(i, e, detail)
  local found = places[i]
  local at = #found
  found[at + 1], found[at + 2] = string.sub(e, 1, 100), detail
  if i <= 6 and head_readable(e) and dedup_until_done(e) then
    local holder = redis.pcall('GET', dedup_key(prefix, e) or prefix .. 'none')
    if type(holder) ~= 'string' or string.sub(holder, 1, 24) ~= head_id(e) then
      unheld[#unheld + 1] = head_id(e)
    end
  end
end

local all = place == 0
if all and total > limit then
  return { total, sizes, wrong, counters, places, unheld, unindexed, dangling, '' }
end
local from = all and 0 or tonumber(after) or 0
for i = 1, 5 do
  if (all or place == i) and not bad[i] then
    local items
    if i == 5 then
      items = redis.call('ZRANGE', delayed, from, from + limit - 1)
    else
      items = redis.call('LRANGE', KEYS[i], from, from + limit - 1)
    end
    for j = 1, #items do see(i, items[j], '') end
    if not all and from + #items < sizes[i] then go_on = string.format('%.0f', from + #items) end
  end
end
if all or place == 6 then
  -- Else one session a call: it holds 1,000 at most.
  for j = all and 1 or from + 1, all and #names or math.min(from + 1, #names) do
    local pairs_ = redis.pcall('HGETALL', prefix .. 'inflight:' .. names[j])
    if pairs_.err then
      see(6, '', names[j] .. ' ')
    else
      for k = 1, #pairs_, 2 do see(6, pairs_[k + 1], names[j] .. ' ' .. pairs_[k]) end
    end
  end
  if not all and from + 1 < #names then go_on = string.format('%.0f', from + 1) end
end
for _, i in ipairs({ 7, 9 }) do
  if (all or place == i) and not bad[i] then
    local start = (all or after == '') and '-' or '(' .. after
    local entries = redis.call('XRANGE', KEYS[i], start, '+', 'COUNT', limit)
    for _, entry in ipairs(entries) do
      local e, fields = entry[2][2], entry[2]
      local outside = i == 7 and fields[#fields - 1] == 'u'
      if i == 7 and not bad[8] and not outside and head_readable(e)
        and redis.call('HGET', dead_ids, head_id(e)) ~= entry[1] then
        unindexed[#unindexed + 1] = head_id(e)
      end
      see(i, e, entry[1] .. (outside and 'u' or ''))
    end
    if not all and #entries == limit then go_on = entries[#entries][1] end
  end
end
if (all or place == 8) and not bad[7] and not bad[8] then
  local scanned = { '0', {} }
  if all then
    scanned[2] = redis.call('HGETALL', dead_ids)
  else
    scanned = redis.call('HSCAN', dead_ids, after == '' and '0' or after, 'COUNT', limit)
  end
  for j = 1, #scanned[2], 2 do
    local at = redis.pcall('XRANGE', dead, scanned[2][j + 1], scanned[2][j + 1])
    local entry = at[1]
    if not entry or string.sub(entry[2][2], 26, 49) ~= scanned[2][j] then
      dangling[#dangling + 1] = scanned[2][j]
    end
  end
  if scanned[1] ~= '0' then go_on = scanned[1] end
end
return { total, sizes, wrong, counters, places, unheld, unindexed, dangling, go_on }
