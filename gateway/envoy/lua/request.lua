-- The request's side: only what the contract knows reaches the transcoder.

local body = require("body")
local clean = require("headers").clean
local json = require("json")
local refusal = require("refusal")
local router = require("router")
local tables = require("tables")

local request = {}

local STATE = "rewards.gateway" -- the dynamic metadata that the answer's side and the access log read
local BODY_MAX_BYTES = 1048576
local HEADERS_MAX_BYTES = 16384

local function remember(handle, key, value) handle:streamInfo():dynamicMetadata():set(STATE, key, value) end

-- A native gRPC call; gRPC-Web is none.
local function is_grpc(content_type)
  return content_type == "application/grpc" or content_type:find("^application/grpc%+") ~= nil
end

local function is_published(path)
  for _, prefix in ipairs(tables.roots) do
    if path:sub(1, #prefix) == prefix then return true end
  end
  return false
end

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- Envoy's own limit is wider: there it answers without ids over HTTP/1, and not at all over HTTP/2.
local function headers_size(headers)
  local size = 0
  for name, value in pairs(headers) do size = size + #name + #value end
  return size
end

local function allowed(methods)
  local names = {}
  for name in pairs(methods) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, ", ")
end

-- Adds what is wrong with the text of a parameter.
local function check_parameter(problems, name, text, field)
  local problem
  if body.invalid_utf8(text) then
    problem = "is not UTF-8"
  elseif text:find("%z") then
    problem = "holds a NUL"
  else
    problem = body.parameter_problem(text, field)
  end
  if problem then problems[#problems + 1] = { field = name, description = problem } end
end

-- A path like "/v1/rewards/*" tells which segments are variables.
local function check_path(problems, route, segments)
  local depth, variable = 0, 0
  for segment in route.path:gmatch("[^/]+") do
    depth = depth + 1
    if segment == "*" then
      variable = variable + 1
      check_parameter(problems, route.variables[variable] or "path", unescape(segments[depth]), json.ANY)
    end
  end
end

local function check_query(problems, route, query)
  local seen = {}
  for pair in query:gmatch("[^&]+") do
    local name, text = pair:match("^([^=]*)=?(.*)$")
    name, text = unescape(name:gsub("%+", " ")), unescape(text:gsub("%+", " "))
    local field = route.query[name]
    if not field then
      if body.invalid_utf8(name) then name = "?" end
      problems[#problems + 1] = { field = body.shown(name), description = "is not a parameter of this request" }
    elseif seen[name] and field.kind ~= "list" then
      problems[#problems + 1] = { field = name, description = "is given twice" }
    else
      check_parameter(problems, name, text, field.item or field)
    end
    seen[name] = true
  end
end

-- The query without what the route does not know: who sends a link on likes to add to it.
local function known(route, query)
  local kept = {}
  for pair in query:gmatch("[^&]+") do
    if route.query[pair:match("^[^=]*")] then kept[#kept + 1] = pair end
  end
  return table.concat(kept, "&")
end

-- A body in an encoding is one that nobody here can read.
local function is_json(headers)
  local encoding = headers:get("content-encoding")
  if encoding and encoding:lower() ~= "identity" then return false end
  local kind, parameters = (headers:get("content-type") or ""):lower():match("^%s*([^;%s]*)%s*;?%s*(.-)%s*$")
  local charset = parameters:match('charset="?([^;"%s]*)')
  return kind == "application/json" and (charset == nil or charset == "utf-8")
end

-- Refuses and returns false unless the body is what the route reads.
local function check_body(handle, route)
  local headers = handle:headers()
  local may_read = route.raw or is_json(headers)
  local named = headers:get("content-type")
  -- Read first, also what is too long: many clients lose an answer that comes while they still send.
  local buffer = handle:body(true)
  local size = buffer:length()
  if size > BODY_MAX_BYTES then return refusal.send(handle, "PAYLOAD_TOO_LARGE", "The body is over 1 MiB.") end
  if not route.body and not route.raw then
    return size == 0 or refusal.invalid(handle, "This request takes no body.", {})
  end
  if not may_read and (size > 0 or named) then
    local message = "The body must be application/json, in UTF-8 and without encoding."
    return refusal.send(handle, "UNSUPPORTED_MEDIA_TYPE", message)
  end
  if route.raw then return true end
  if size == 0 then
    buffer:setBytes("{}")
    return true
  end
  local problems, malformed = body.problems(buffer:getBytes(0, size), route.body)
  if #problems == 0 then return true end
  refusal.invalid(handle, malformed and "The body is not valid JSON." or "The request is not valid.", problems)
end

-- Refuses and returns false unless path, query and body are what the route reads.
local function check(handle, route, segments, query)
  local problems = {}
  check_path(problems, route, segments)
  check_query(problems, route, query)
  if #problems > 0 then return refusal.invalid(handle, "The request is not valid.", problems) end
  return check_body(handle, route)
end

-- Where a path has a twin that is CSV, whoever accepts CSV and no JSON means that one.
local function as_accepted(headers, accepted, path, query)
  if not accepted:find("text/csv", 1, true) or accepted:find("application/json", 1, true) then return path end
  local methods = router.find(path .. ":csv")
  if not methods or not methods.GET or headers:get(":method") ~= "GET" then return path end
  headers:replace(":path", path .. ":csv" .. (query ~= "" and "?" .. query or ""))
  return path .. ":csv"
end

function request.receive(handle)
  local headers = handle:headers()
  local method, target = headers:get(":method"), headers:get(":path") or "/"
  local path, query = target:match("^([^?]*)%??(.*)$")
  local content_type = headers:get("content-type") or ""
  local accepted = (headers:get("accept") or ""):lower()
  local size = headers_size(headers)
  clean(headers)
  if method == "POST" and is_grpc(content_type) and not is_published(path) then
    return remember(handle, "route", tables.rpcs[path] and path or "unknown")
  end
  remember(handle, "rest", true)
  remember(handle, "route", "unknown")
  remember(handle, "family", path:find("^/oauth/") and "oauth" or path:find("^/claim/") and "page" or "v1")
  if method == "HEAD" then remember(handle, "head", true) end
  if content_type:find("^application/grpc") then
    remember(handle, "typed_as_grpc", is_published(path) and "415" or "404")
  end
  local methods, segments
  if is_published(path) then
    path = as_accepted(headers, accepted, path, query)
    methods, segments = router.find(path)
  end
  if methods then
    local _, any = next(methods)
    local known = methods[method] or any
    remember(handle, "route", known.label)
    remember(handle, "number", known.number)
    remember(handle, "family", known.family)
  end
  if size > HEADERS_MAX_BYTES then
    return refusal.send(handle, "PAYLOAD_TOO_LARGE", "The headers are over 16 KB.", nil, nil, 431)
  end
  if not methods then
    return refusal.send(handle, "NOT_FOUND", "There is no such path.")
  end
  local route = methods[method]
  if not route then
    local names = allowed(methods)
    return refusal.send(handle, "METHOD_NOT_ALLOWED", "This path takes " .. names .. ".", nil, { allow = names })
  end
  if route.family == "page" and query ~= "" then
    query = known(route, query)
    headers:replace(":path", path .. (query == "" and "" or "?" .. query))
  end
  check(handle, route, segments, query)
end

return request
