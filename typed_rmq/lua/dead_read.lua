-- dead_read: read dead letters, one by its message id, or a page of them.
--
-- KEYS  dead dead_ids
-- ARGV  id after limit
--       id     a message's id, or the stream id of a letter that is no message; "" for a page
--       after  the stream id that the page starts behind, or "-"
-- Reply entries as XRANGE returns them
if ARGV[1] ~= '' then
  local at = redis.call('HGET', KEYS[2], ARGV[1])
  if not at and string.find(ARGV[1], '^%d+%-%d+$') then at = ARGV[1] end
  if not at then return {} end
  return redis.call('XRANGE', KEYS[1], at, at)
end
return redis.call('XRANGE', KEYS[1], ARGV[2] == '-' and '-' or '(' .. ARGV[2], '+', 'COUNT', ARGV[3])
