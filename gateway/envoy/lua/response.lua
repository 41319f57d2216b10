-- The answer's side: the envelope of the v1 surface, RFC 6749's form for OAuth, and 304.

local json = require("json")
local tables = require("tables")

local response = {}

local STATE = "rewards.gateway"
local ANSWER_MAX_BYTES = 4128768 -- what outgrows the connection's buffer of 4 MiB breaks off half-sent
local OPENING = '{"IsSucessful":true,"ErrorCode":0,"ExceptionMessage":null,"ReturnObject":'

local AGAIN = "The service is unavailable. Try again with the same key."
local UNKNOWN = "It took too long, and its outcome is unknown. Try again with the same key."
local BROKEN = "Something went wrong on our side."

-- What a status means when nobody named a reason. The texts are constant: what Envoy or a driver says of a
-- fault is for the log.
local BY_STATUS = {
  ["401"] = { "UNAUTHENTICATED", "This needs a valid credential." },
  ["403"] = { "PERMISSION_DENIED", "This credential may not do this." },
  ["404"] = { "NOT_FOUND", "There is no such thing." },
  ["405"] = { "METHOD_NOT_ALLOWED", "This path does not take this method." },
  ["408"] = { "TIMEOUT", UNKNOWN },
  ["409"] = { "CONFLICT", "It has changed meanwhile." },
  ["413"] = { "PAYLOAD_TOO_LARGE", "The body is over 1 MiB." },
  ["415"] = { "UNSUPPORTED_MEDIA_TYPE", "The body must be application/json." },
  ["429"] = { "RATE_LIMITED", "Too many requests." },
  ["431"] = { "PAYLOAD_TOO_LARGE", "The headers are over 16 KB." },
  ["499"] = { "UNAVAILABLE", AGAIN },
  ["502"] = { "UNAVAILABLE", AGAIN },
  ["503"] = { "UNAVAILABLE", AGAIN },
  ["504"] = { "TIMEOUT", UNKNOWN },
}
local CLIENT_FAULT = { "INVALID_REQUEST", "The request is not valid." }
local SERVER_FAULT = { "INTERNAL", BROKEN }
local CONSTANT = { INTERNAL = BROKEN, UNAVAILABLE = AGAIN, TIMEOUT = UNKNOWN }

local OAUTH_BY_STATUS = {
  [401] = "invalid_client", [429] = "temporarily_unavailable", [500] = "server_error",
  [503] = "temporarily_unavailable", [504] = "temporarily_unavailable",
}

local function violations(raw)
  local listed = {}
  for index, item in ipairs(json.children(raw)) do
    local violation = json.children(item)
    local field, description = violation.field or '""', violation.description or '""'
    listed[index] = '{"field":' .. field .. ',"description":' .. description .. "}"
  end
  return '"fieldViolations":[' .. table.concat(listed, ",") .. "]"
end

-- The transcoder is no service and sends words: `seen_at: invalid value "x" for type ...`.
local function transcoder_violations(text)
  local field = text:match("^([%w_.%[%]]+): invalid value")
  if not field then return "" end
  local name = field:gsub("_(%l)", string.upper)
  return '"fieldViolations":[{"field":"' .. name .. '","description":"has an invalid value"}]'
end

-- A refusal, whoever made it: {reason, code, status, message (JSON), details (JSON), oauth_error}.
local function refused(status, text)
  local sent = json.children(text)
  local found = { details = "" }
  for _, detail in ipairs(json.children(sent.details)) do
    local members = json.children(detail)
    local kind = (json.text(members["@type"]) or ""):match("[^/]*$")
    if kind == "google.rpc.ErrorInfo" then
      found.reason = json.text(members.reason)
    elseif kind == "google.rpc.BadRequest" then
      found.details = violations(members.fieldViolations)
    elseif kind == "rewards.errors.v1.OAuthError" then
      found.oauth_error = members.error
    elseif tables.messages[kind] then
      local plain = json.unquote(detail, { kind = "message", of = kind }, tables.messages)
      found.details = plain:gsub('^{%s*"@type"%s*:%s*"[^"]*"%s*,?', ""):gsub("}%s*$", "")
    end
  end
  local by_status = BY_STATUS[status] or (tonumber(status) < 500 and CLIENT_FAULT or SERVER_FAULT)
  if not tables.reasons[found.reason] then found.reason = by_status[1] end
  if status == "400" and found.details == "" and not sent.details then found.details = transcoder_violations(text) end
  local spec = tables.reasons[found.reason]
  found.code = spec.code
  found.status = status == "431" and 431 or spec.status
  local constant = CONSTANT[found.reason]
  local said = sent.details and json.text(sent.message)
  found.message = constant and json.quote(constant) or said and said ~= "" and sent.message or json.quote(by_status[2])
  return found
end

local function failure_members(found)
  return '"IsSucessful":false,"ErrorCode":' .. found.code .. ',"ExceptionMessage":' .. found.message
    .. ',"ReturnObject":{"reason":"' .. found.reason .. '","details":{' .. found.details .. "}}"
end

local function oauth_members(found)
  local name = found.oauth_error or json.quote(OAUTH_BY_STATUS[found.status] or "invalid_request")
  return '"error":' .. name .. ',"error_description":' .. found.message
end

-- Made beforehand, one a reason: what went wrong is told in words for people, and nothing of it comes from outside.
local function page(found)
  return tables.page.of[found.reason] or tables.page.of[found.status < 500 and "INVALID_REQUEST" or "INTERNAL"]
end

local function failure(family, found)
  if family == "page" then return page(found) end
  if family == "oauth" then return "{" .. oauth_members(found) .. "}" end
  if family == "oauth_enveloped" then return "{" .. oauth_members(found) .. "," .. failure_members(found) .. "}" end
  return "{" .. failure_members(found) .. "}"
end

local function success(family, route, text)
  local answer = json.unquote(text, route.answer, tables.messages)
  if route.part then answer = json.children(answer)[route.part] or "null" end
  if family == "v1" then return OPENING .. answer .. "}" end
  -- A client of this name reads the RFC's members, or unwraps the envelope as everywhere else.
  if family == "oauth_enveloped" then return answer:gsub("}%s*$", "") .. "," .. OPENING:sub(2) .. answer .. "}" end
  return answer
end

local function add_if_absent(headers, name, value)
  if not headers:get(name) then headers:add(name, value) end
end

local function finish_failure(headers, family, found)
  headers:replace(":status", tostring(found.status))
  headers:replace("content-type", family == "page" and "text/html; charset=utf-8" or "application/json")
  if found.reason == "UNAVAILABLE" or found.reason == "RATE_LIMITED" then add_if_absent(headers, "retry-after", "1") end
  if found.status == 401 then
    local scheme = family:find("^oauth") and "Basic" or "Bearer"
    add_if_absent(headers, "www-authenticate", scheme .. ' realm="rewards-mesh"')
  end
end

-- A page has its own headers where its service has set them; one that leads elsewhere says where.
local function finish_page(headers)
  for name, value in pairs(tables.page.headers) do add_if_absent(headers, name, value) end
  if headers:get(":status") == "200" and headers:get("location") then headers:replace(":status", "303") end
end

local function not_modified(handle)
  handle:body(true):setBytes("")
  local headers = handle:headers()
  headers:replace(":status", "304")
  for _, name in ipairs({ "x-rewards-not-modified", "content-type", "content-length" }) do headers:remove(name) end
end

function response.answer(handle)
  local state = handle:streamInfo():dynamicMetadata():get(STATE)
  local headers = handle:headers()
  if not state then return end -- health check, preflight, or refused before any filter: already in its form
  if not state.rest then return end -- native gRPC: a status, and no envelope
  local status, family = headers:get(":status"), state.family
  if (headers:get("content-type") or ""):find("^application/grpc") then
    -- Envoy takes a content type of gRPC at its word, also on a REST path, where it is just a wrong one. Else it is
    -- a status with a detail that is not in the descriptors, which the transcoder leaves as it is.
    status = state.typed_as_grpc or "500"
  end
  local route = state.number and tables.routes[state.number]
  -- What a transcoded answer keeps of gRPC would confuse, and may hold the text of a fault.
  for _, name in ipairs({ "grpc-message", "grpc-status-details-bin", "grpc-accept-encoding", "grpc-encoding" }) do
    headers:remove(name)
  end
  for name, value in pairs(route and route.notices or {}) do headers:add(name, value) end
  if family == "page" then finish_page(headers) end
  if status == "200" and route and headers:get("x-rewards-not-modified") then return not_modified(handle) end
  if status == "200" and route and not route.answer then return end -- a stream, CSV, a document
  if state.head then return end
  local body = handle:body(true)
  local size = body:length()
  local text = size > 0 and body:getBytes(0, size) or ""
  if size > ANSWER_MAX_BYTES then status, text = "500", "" end
  if status == "200" and route then
    local wrapped, answer = pcall(success, family, route, text)
    if wrapped then
      body:setBytes(answer)
      return
    end
    handle:logErr("answer of " .. state.route .. ": " .. answer)
    status, text = "500", ""
  end
  local found = refused(status, text)
  body:setBytes(failure(family, found))
  finish_failure(handle:headers(), family, found)
end

return response
