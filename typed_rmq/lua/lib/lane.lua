-- lane: every call of a lane has a number, so that a repeated call is answered, not done again.
--
-- The lane's key holds the number of the last call that was done; behind a space its answer, where
-- it had something to say.

-- What the call numbered n is: 'new' with how many earlier calls Redis has lost, 'again' with the
-- stored answer, or 'old', a late duplicate that must do nothing. At last, whether the lane is not
-- known: it is new, or an hour old, or Redis has forgotten it, which is for the client to tell.
local function lane_enter(key, n)
  local last = redis.call('GET', key)
  if not last then return 'new', 0, '', true end
  local space = string.find(last, ' ', 1, true)
  local number = tonumber(space and string.sub(last, 1, space - 1) or last)
  if not number then error('TRMQ_CORRUPT lane') end
  if n == number then return 'again', 0, space and string.sub(last, space + 1) or '' end
  if n < number then return 'old', 0, '' end
  return 'new', n - number - 1, ''
end

-- An hour outlives every duplicate that a network can still deliver. n is the argument's text.
local function lane_leave(key, n, answer)
  redis.call('SET', key, answer == '' and n or n .. ' ' .. answer, 'PX', '3600000')
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
