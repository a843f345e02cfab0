-- epoch: which life of a queue this is, so that clients see that Redis has forgotten one.
--
-- It is made once, with the first message that is stored, and is told to those whose lane is not
-- known: "<epoch> <seconds> <n>", with the time by Redis's clock, and n, the number of the call; 0
-- where its lane is known all the same. The epoch is "-" where there is none yet.

-- now: ms as text. Behind the writes, where stats is there; so whatever is refused, the call is done.
local function epoch_made(stats, now)
  local epoch = redis.pcall('HGET', stats, 'epoch')
  if not epoch then
    local set = redis.pcall('HSET', stats, 'epoch', now)
    epoch = type(set) == 'number' and now
  end
  return type(epoch) == 'string' and epoch
end

local function epoch_told(epoch, now, n)
  return (epoch or '-') .. ' ' .. string.sub(now, 1, -4) .. ' ' .. n
end
