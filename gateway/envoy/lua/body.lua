-- What a request's JSON body must be before the transcoder sees it. The transcoder drops unknown fields
-- without a word and lets the last of two equal keys win; a misspelt field must never move value.

local json = require("json")
local tables = require("tables")

local body = {}

local PROBLEMS_MAX = 20
local PATH_MAX = 200

local SHAPE = {
  string = "string", time = "string", enum = "string", double = "number", int32 = "number", int64 = "number",
  message = "object", struct = "object", map = "object", list = "array",
}
local NAME = { array = "a list", number = "a number", object = "an object", string = "a string" }

-- Points and minor units are exact up to 2^53. Compared as digits: as doubles 2^53 + 1 is 2^53.
local INT64_MAX = "9007199254740992"

local function integer_problem(digits, kind)
  local magnitude = digits:match("^%-?(%d+)$")
  if not magnitude then return "must be an integer, without fraction or exponent" end
  local over
  if kind == "int32" then
    over = math.abs(tonumber(digits)) > 2147483647
  else
    over = #magnitude > #INT64_MAX or (#magnitude == #INT64_MAX and magnitude > INT64_MAX)
  end
  return over and "is out of range" or nil
end

-- RFC 3339 with a zone, as protobuf reads it.
local function is_time(text)
  local rest = text:match("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d(.*)$")
  rest = rest and rest:gsub("^%.%d+", "")
  return rest == "Z" or (rest and rest:find("^[+-]%d%d:%d%d$")) ~= nil
end

local CHECKS = {
  int32 = integer_problem,
  int64 = integer_problem,
  time = function(text)
    return not is_time(text) and "must be an RFC 3339 instant, for example 2026-12-31T23:59:59Z" or nil
  end,
  enum = function(text, _, field)
    local enum = tables.enums[field.of]
    return not enum.values[text:upper()] and "must be one of " .. enum.names or nil
  end,
}

local visitor = { depth_max = 32 } -- a Struct takes three levels of protobuf for one of JSON, and protobuf allows 100

-- A path, or a parameter's name, as far as a refusal repeats it.
local function shown(path)
  if #path <= PATH_MAX then return path end
  -- Never a part of a character: the answer must be UTF-8 too.
  return (path:sub(1, PATH_MAX):gsub("[\192-\255]?[\128-\191]*$", "")) .. "…"
end

body.shown = shown

function visitor.problem(walk, description)
  local problems = walk.notes
  if #problems < PROBLEMS_MAX then
    problems[#problems + 1] = { field = shown(json.path(walk)), description = description }
  end
end

function visitor.value(walk, field, shape, first, last)
  if shape == "number" and math.abs(tonumber(walk.text:sub(first, last))) == math.huge then
    return visitor.problem(walk, "is out of range")
  end
  local kind = field.kind
  if kind == "any" then return end
  -- Null means "not given", so it has no place where something must be.
  if shape == "null" and walk.depth > 0 and type(walk.path[walk.depth]) == "string" then return end
  local wanted = SHAPE[kind]
  if kind == "bool" then
    if shape ~= "true" and shape ~= "false" then visitor.problem(walk, "must be true or false") end
  elseif shape ~= wanted then
    visitor.problem(walk, "must be " .. NAME[wanted])
  elseif CHECKS[kind] then
    local content = shape == "string" and json.decode(walk.text, first, last) or walk.text:sub(first, last)
    local problem = CHECKS[kind](content, kind, field)
    if problem then visitor.problem(walk, problem) end
  end
end

local function follows(byte) return byte ~= nil and byte >= 0x80 and byte <= 0xBF end

-- The first byte that no UTF-8 text has there; nil if there is none. Overlong forms, surrogates and what is
-- over U+10FFFF are none.
local function invalid_utf8(text)
  local position = text:find("[\128-\255]")
  while position do
    local a, b, c, d = text:byte(position, position + 3)
    local size = a < 0xC2 and 0 or a < 0xE0 and 2 or a < 0xF0 and 3 or a < 0xF5 and 4 or 0
    local low = a == 0xE0 and 0xA0 or a == 0xF0 and 0x90 or 0x80
    local high = a == 0xED and 0x9F or a == 0xF4 and 0x8F or 0xBF
    if size == 0 or not b or b < low or b > high or (size > 2 and not follows(c)) or (size > 3 and not follows(d)) then
      return position
    end
    position = text:find("[\128-\255]", position + size)
  end
end
body.invalid_utf8 = invalid_utf8

-- What is wrong with `text` as the JSON of `field`: a list of {field, description}, empty if nothing is.
-- The second result is true if it is not JSON at all.
function body.problems(text, field)
  if invalid_utf8(text) then return { { field = "", description = "is not UTF-8" } }, true end
  local problems = {}
  local is_json, path, description = json.walk(text, field, tables.messages, visitor, problems)
  if not is_json then return { { field = shown(path), description = description } }, true end
  return problems, false
end

-- What is wrong with the text of a path or query parameter as `field`; nil if nothing is.
function body.parameter_problem(text, field)
  local kind = field.kind
  if kind == "bool" then
    return text ~= "true" and text ~= "false" and "must be true or false" or nil
  elseif kind == "double" then
    local number = text:find("^%-?%d+%.?%d*[eE]?[+-]?%d*$") and tonumber(text)
    return (not number or math.abs(number) == math.huge) and "must be a number" or nil
  end
  return CHECKS[kind] and CHECKS[kind](text, kind, field) or nil
end

return body
