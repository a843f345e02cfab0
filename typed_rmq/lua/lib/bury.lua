-- bury: the dead letters, a stream, with an index from message id to stream id.

-- How many letters must go when so many come; also checks the types of both keys.
local function bury_excess(dead, ids, coming, keep)
  redis.call('HLEN', ids)
  return math.max(0, math.min(redis.call('XLEN', dead) + coming - keep, 1000))
end

-- letter: { envelope, reason, error, traceback }; unindexed where its id is that of another.
local function bury(dead, ids, letter)
  local e = letter[1]
  local fields = { 'e', e, 'r', letter[2] }
  if letter[3] and letter[3] ~= '' then
    fields[5], fields[6] = 'x', letter[3]
    if letter[4] and letter[4] ~= '' then fields[7], fields[8] = 't', letter[4] end
  end
  local indexed = head_readable(e) and not letter.unindexed
  if letter.unindexed then
    fields[#fields + 1] = 'u'
    fields[#fields + 1] = '1'
  end
  local at = redis.call('XADD', dead, '*', unpack(fields))
  if indexed then redis.call('HSET', ids, head_id(e), at) end
end

-- Takes these entries, as XRANGE returns them, out of the stream of so many and out of the index.
local function bury_forget(dead, ids, entries, total)
  if #entries == 0 then return end
  if #entries == total then
    -- A stream without entries would stay as a key.
    redis.call('DEL', dead, ids)
    return
  end
  local at, names = {}, {}
  for i, entry in ipairs(entries) do
    at[i] = entry[1]
    local e = entry[2][2]
    local unindexed = entry[2][#entry[2] - 1] == 'u'
    if head_readable(e) and not unindexed then names[#names + 1] = head_id(e) end
  end
  redis.call('XDEL', dead, unpack(at))
  if #names > 0 then redis.call('HDEL', ids, unpack(names)) end
end

-- Keeps the newest; at most 1,000 go in one call.
local function bury_trim(dead, ids, keep)
  local total = redis.call('XLEN', dead)
  local excess = math.min(total - keep, 1000)
  if excess > 0 then
    bury_forget(dead, ids, redis.call('XRANGE', dead, '-', '+', 'COUNT', excess), total)
  end
end
