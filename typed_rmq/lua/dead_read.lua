-- dead_read: read dead letters, one by its message id, or a page of them.
--
-- KEYS  dead dead_ids
-- ARGV  id after limit
--       id     a message's id, or the stream id of a letter that is no message; "" for a page
--       after  the stream id that the page starts behind, or "-"
-- Reply entries as XRANGE returns them
if ARGV[1] ~= '' then
  local at = redis.call('HGET', KEYS[2], ARGV[1])
  if at then return redis.call('XRANGE', KEYS[1], at, at) end
  -- At most 19 digits: Redis takes longer ones for an error.
  local ms, seq = string.match(ARGV[1], '^(%d+)%-(%d+)$')
  if not ms or #ms > 19 or #seq > 19 then return {} end
  return redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
end
return redis.call('XRANGE', KEYS[1], ARGV[2] == '-' and '-' or '(' .. ARGV[2], '+', 'COUNT', ARGV[3])
