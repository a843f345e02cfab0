-- dedup: the keys that hold 'this content was published'. Value: id, then the content's digest
-- where the key is an explicit one.

-- The dedup key of an envelope, or nothing where it has none.
local function dedup_key(prefix, e)
  if not head_ok(e) or string.byte(e, 17) == 45 or #e < 78 then return nil end
  return prefix .. 'dedup:' .. string.sub(e, 57, 78)
end

-- What the key of a new envelope holds.
local function dedup_value(e)
  local mode = string.byte(e, 17)
  if mode == 87 or mode == 68 then return head_id(e) .. string.sub(e, 79, 100) end
  return head_id(e)
end

-- Whether the key must be held while the message lives, rather than for a time.
local function dedup_until_done(e)
  local mode = string.byte(e, 17)
  return mode == 100 or mode == 68
end

-- Of these envelopes' keys, the ones that still belong to their messages.
local function dedup_owned(prefix, envelopes)
  local keys, ids, owned = {}, {}, {}
  for _, e in ipairs(envelopes) do
    local key = dedup_key(prefix, e)
    if key then
      keys[#keys + 1] = key
      ids[#ids + 1] = head_id(e)
    end
  end
  if #keys == 0 then return owned end
  local values = redis.call('MGET', unpack(keys))
  for i, value in ipairs(values) do
    if value and string.sub(value, 1, 24) == ids[i] then owned[#owned + 1] = keys[i] end
  end
  return owned
end

local function dedup_free(keys)
  if #keys > 0 then redis.call('DEL', unpack(keys)) end
end
