-- Reads JSON once, from left to right, beside the descriptors' description of it, and tells a visitor what
-- stands where. Nothing is built: a value is the pair of its first and last byte, so that an answer leaves
-- with the bytes it came with, and the work grows with the length of the text and with nothing else.

local json = {}

local find, byte, sub, gsub, format = string.find, string.byte, string.sub, string.gsub, string.format

-- What may stand in a Struct, a Value or a map: the descriptors know nothing of it.
json.ANY = { kind = "any" }

local SHAPES = {
  [34] = "string", [91] = "array", [123] = "object", [45] = "number", -- " [ { -
  [102] = "false", [110] = "null", [116] = "true",
}
for digit = 48, 57 do SHAPES[digit] = "number" end

local function fail(description) error({ description = description }, 0) end

-- The position of the closing quote of the string that opens at `first`.
local function string_end(text, first)
  local position = first
  while true do
    position = find(text, '[%z\1-\31"\\]', position + 1)
    if not position then fail("is a string that does not end") end
    local character = byte(text, position)
    if character == 34 then return position end
    if character ~= 92 then fail("holds a control character") end
    local hex = find(text, "^u%x%x%x%x", position + 1) and tonumber(sub(text, position + 2, position + 5), 16)
    if hex == 0 then fail("holds a NUL") end
    if hex and hex >= 0xD800 and hex <= 0xDFFF then
      -- Half a character is none: the other half must follow.
      if hex > 0xDBFF or not find(text, "^\\u[dD][c-fC-F]%x%x", position + 6) then
        fail("holds half a surrogate pair")
      end
      position = position + 11
    elseif hex then
      position = position + 5
    elseif find(text, '^["\\/bfnrt]', position + 1) then
      position = position + 1
    else
      fail("holds an unknown escape")
    end
  end
end

local function number_end(text, first)
  local _, last = find(text, "^%-?%d+", first)
  if not last or find(text, "^%-?0%d", first) then fail("is not a JSON number") end
  if byte(text, last + 1) == 46 then
    _, last = find(text, "^%.%d+", last + 1)
    if not last then fail("is not a JSON number") end
  end
  if find(text, "^[eE]", last + 1) then
    _, last = find(text, "^[eE][+-]?%d+", last + 1)
    if not last then fail("is not a JSON number") end
  end
  return last
end

local function word_end(text, first, word)
  local last = first + #word - 1
  if sub(text, first, last) ~= word then fail("is not JSON") end
  return last
end

local function skip_space(text, position) return find(text, "[^ \t\r\n]", position) or #text + 1 end

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function utf8(code)
  if code < 0x80 then return string.char(code) end
  if code < 0x800 then return string.char(0xC0 + math.floor(code / 64), 0x80 + code % 64) end
  local tail = string.char(0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
  if code < 0x10000 then return string.char(0xE0 + math.floor(code / 4096)) .. tail end
  return string.char(0xF0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64) .. tail
end

-- The text that a string which was read without complaint stands for. `first` and `last` are its quotes.
function json.decode(text, first, last)
  local inner = sub(text, first + 1, last - 1)
  if not find(inner, "\\", 1, true) then return inner end
  inner = gsub(inner, "\\u([dD][89abAB]%x%x)\\u([dD][c-fC-F]%x%x)", function(high, low)
    return utf8(0x10000 + (tonumber(high, 16) - 0xD800) * 1024 + tonumber(low, 16) - 0xDC00)
  end)
  -- Escapes are taken pairwise from the left, so that the second half of "\\" never opens another one.
  return (gsub(inner, "\\(.)(%x?%x?%x?%x?)", function(letter, hex)
    if letter == "u" then return utf8(tonumber(hex, 16)) end
    return (ESCAPES[letter] or letter) .. hex
  end))
end

-- `text` as a JSON string.
function json.quote(text)
  return '"' .. gsub(text, '[%z\1-\31"\\]', function(character)
    return format("\\u%04x", byte(character))
  end) .. '"'
end

local value

-- The fields of a message by their JSON names; nil for what the descriptors do not describe.
local function members_of(walk, field) return field.kind == "message" and walk.messages[field.of] or nil end

local function object_end(walk, position, field)
  local text, members, seen = walk.text, members_of(walk, field), {}
  position = skip_space(text, position + 1)
  if byte(text, position) == 125 then return position end
  while true do
    if byte(text, position) ~= 34 then fail("is not JSON: a key is missing") end
    local last = string_end(text, position)
    local key = json.decode(text, position, last)
    walk.path[walk.depth] = key
    if seen[key] then walk.visitor.problem(walk, "is given twice") end
    seen[key] = true
    local member = members and members[key] or json.ANY
    if members and not members[key] then walk.visitor.problem(walk, "is not a field of this request") end
    position = skip_space(text, last + 1)
    if byte(text, position) ~= 58 then fail("is not JSON: a colon is missing") end
    position = skip_space(text, value(walk, skip_space(text, position + 1), member) + 1)
    local separator = byte(text, position)
    if separator == 125 then return position end
    if separator ~= 44 then fail("is not JSON: a comma or brace is missing") end
    position = skip_space(text, position + 1)
  end
end

local function array_end(walk, position, field)
  local text, index = walk.text, 0
  local item = field.item or json.ANY
  position = skip_space(text, position + 1)
  if byte(text, position) == 93 then return position end
  while true do
    walk.path[walk.depth] = index
    position = skip_space(text, value(walk, position, item) + 1)
    local separator = byte(text, position)
    if separator == 93 then return position end
    if separator ~= 44 then fail("is not JSON: a comma or bracket is missing") end
    index, position = index + 1, skip_space(text, position + 1)
  end
end

-- Reads one value, shows it to the visitor and returns the position of its last byte.
function value(walk, position, field)
  local text = walk.text
  local shape = SHAPES[byte(text, position)]
  local last
  if shape == "object" or shape == "array" then
    if walk.depth == walk.visitor.depth_max then fail("is nested too deeply") end
    walk.depth = walk.depth + 1
    last = (shape == "object" and object_end or array_end)(walk, position, field)
    walk.path[walk.depth] = nil
    walk.depth = walk.depth - 1
  elseif shape == "string" then
    last = string_end(text, position)
  elseif shape == "number" then
    last = number_end(text, position)
  elseif shape then
    last = word_end(text, position, shape)
  else
    fail("is not JSON")
  end
  walk.visitor.value(walk, field, shape, position, last)
  return last
end

-- Where the walk stands, as the contract spells fields: "recipient.email", "awards[3].points".
function json.path(walk)
  local parts = {}
  for depth = 1, walk.depth do
    local step = walk.path[depth]
    if type(step) == "number" then
      parts[#parts + 1] = "[" .. step .. "]"
    elseif step then
      parts[#parts + 1] = (depth > 1 and "." or "") .. step
    end
  end
  return table.concat(parts)
end

-- Walks the whole of `text`, which `field` describes in terms of `messages`. `visitor.value(walk, field,
-- shape, first, last)` is called for each value, after those in it; `visitor.problem(walk, description)` for
-- each unknown or repeated key. Nesting over `visitor.depth_max` is refused. `notes` is the visitor's own.
-- Returns true, or false, the path and the description of what is not JSON at all.
function json.walk(text, field, messages, visitor, notes)
  local walk = { text = text, messages = messages, visitor = visitor, notes = notes, path = {}, depth = 0 }
  local read, problem = pcall(function()
    local last = value(walk, skip_space(text, 1), field)
    if skip_space(text, last + 1) <= #text then fail("is followed by more") end
  end)
  if read then return true end
  if type(problem) ~= "table" then error(problem, 0) end
  return false, json.path(walk), problem.description
end

local children = { depth_max = 100, problem = function() end }

function children.value(walk, _, _, first, last)
  local step = walk.path[1]
  if walk.depth == 1 then walk.notes[type(step) == "number" and step + 1 or step] = sub(walk.text, first, last) end
end

-- The members of an object, or the items of a list from 1, each as JSON text. Empty for anything else.
function json.children(text)
  local found = {}
  return json.walk(text or "", json.ANY, {}, children, found) and found or {}
end

local quoted = { depth_max = 100, problem = function() end }

function quoted.value(walk, field, shape, first, last)
  if field.kind ~= "int64" or shape ~= "string" then return end
  local notes = walk.notes
  notes[#notes + 1] = sub(walk.text, notes.from, first - 1)
  notes[#notes + 1] = sub(walk.text, first + 1, last - 1)
  notes.from = last + 1
end

-- `text` with its int64 fields as JSON numbers. Protobuf prints them as strings; the contract has numbers.
-- Raises an error if it is not JSON.
function json.unquote(text, field, messages)
  local pieces = { from = 1 }
  if not json.walk(text, field, messages, quoted, pieces) then error("the answer is not JSON") end
  pieces[#pieces + 1] = sub(text, pieces.from)
  return table.concat(pieces)
end

-- What a JSON string stands for; nil for anything else.
function json.text(raw) return raw and byte(raw) == 34 and json.decode(raw, 1, #raw) or nil end

return json
