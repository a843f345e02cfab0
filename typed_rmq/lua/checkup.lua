-- checkup: which commands the user lacks a right to, and which keys are of the wrong type.
--
-- KEYS  high normal low suspects bell room delayed sessions meta stats dead_ids dead done
-- ARGV  command...
-- Reply { known, missing, wrong }
--       known    1 where the server can tell of rights (Redis 7, Valkey), else 0
--       missing  of the commands, those that the user may not run on keys of the queue
--       wrong    positions of keys that hold something else than they must
local missing, wrong = {}, {}
local may = redis.acl_check_cmd
if may then
  for i = 1, #ARGV do
    -- The same key in every place, as some take several. A command that this server does not know
    -- is an error, and no matter of rights.
    local known, allowed = pcall(may, ARGV[i], KEYS[1], KEYS[1], KEYS[1])
    if known and not allowed then missing[#missing + 1] = ARGV[i] end
  end
end
for i = 1, #KEYS do
  local size
  if i <= 6 then
    size = redis.pcall('LLEN', KEYS[i])
  elseif i <= 8 then
    size = redis.pcall('ZCARD', KEYS[i])
  elseif i <= 11 then
    size = redis.pcall('HLEN', KEYS[i])
  else
    size = redis.pcall('XLEN', KEYS[i])
  end
  if type(size) == 'table' and string.find(size.err, 'WRONGTYPE', 1, true) then
    wrong[#wrong + 1] = i
  end
end
return { may and 1 or 0, missing, wrong }
