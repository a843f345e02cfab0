-- counters: the queue's lifetime counters, checked before the first write and written at once.

-- deltas: name -> number. Returns the arguments of the HSET that adds them, or nothing to add.
local function counters_read(key, deltas)
  local names = {}
  for name, delta in pairs(deltas) do
    if delta ~= 0 then names[#names + 1] = name end
  end
  if #names == 0 then return nil end
  local values, sums = redis.call('HMGET', key, unpack(names)), {}
  for i, name in ipairs(names) do
    local value = tonumber(values[i] or '0')
    if not value then error('TRMQ_CORRUPT stats') end
    sums[#sums + 1] = name
    sums[#sums + 1] = string.format('%.0f', value + deltas[name])
  end
  return sums
end

local function counters_write(key, sums)
  if sums then redis.call('HSET', key, unpack(sums)) end
end
