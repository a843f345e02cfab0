-- head: the fixed head of an envelope; positions as in typed_rmq/wire.py, counted from one.

local PRIORITY = { [104] = 1, [110] = 2, [108] = 3 } -- h, n, l

-- Enough of a head to be claimed; the consumer looks at the rest.
local function head_ok(e)
  return #e >= 56 and string.byte(e, 1) == 49 and string.byte(e, 50) == 58
end

-- A head whose numbers can be counted on.
local function head_readable(e)
  return head_ok(e) and PRIORITY[string.byte(e, 15)] ~= nil
    and string.find(e, '^%d%d%d%d%d%d%d%d%d%d%d%d%d', 2) ~= nil
    and string.find(e, '^[s-][-wdWD]%d%d%d%d', 16) ~= nil
    and string.find(e, '^%d%d%d%d%d%d', 51) ~= nil
end

local function head_priority(e) return PRIORITY[string.byte(e, 15)] or 2 end
local function head_suspect(e) return string.byte(e, 16) == 115 end
local function head_attempt(e) return tonumber(string.sub(e, 18, 21)) end
local function head_id(e) return string.sub(e, 26, 49) end
local function head_field(e) return string.sub(e, 26, 56) end

-- Out of numbers: the next delivery could not be told from an earlier one.
local function head_worn(e) return string.sub(e, 51, 56) == '999999' end

-- The envelope for its next delivery, with the attempt that it will be and 's' or '-'.
local function head_next(e, attempt, suspect)
  return string.sub(e, 1, 15) .. suspect .. string.sub(e, 17, 17)
    .. string.format('%04d', math.min(attempt, 9999)) .. string.sub(e, 22, 50)
    .. string.format('%06d', tonumber(string.sub(e, 51, 56)) + 1) .. string.sub(e, 57)
end
