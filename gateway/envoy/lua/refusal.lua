-- Refusals as everything behind this filter makes them too: google.rpc.Status as JSON, with an ErrorInfo that
-- names the reason. So the answer's side has one form to read, whoever refused.

local json = require("json")
local tables = require("tables")

local refusal = {}

local TYPE = '{"@type":"type.googleapis.com/'

-- `violations` is a list of {field, description}. `headers` are added to the answer's. `status` is for a reason
-- that has more than one.
function refusal.send(handle, reason, message, violations, headers, status)
  local fields = {}
  for index, violation in ipairs(violations or {}) do
    local field, description = json.quote(violation.field), json.quote(violation.description)
    fields[index] = '{"field":' .. field .. ',"description":' .. description .. "}"
  end
  local details = TYPE .. 'google.rpc.ErrorInfo","reason":"' .. reason .. '"}'
  if #fields > 0 then
    local listed = table.concat(fields, ",")
    details = details .. "," .. TYPE .. 'google.rpc.BadRequest","fieldViolations":[' .. listed .. "]}"
  end
  local answer = headers or {}
  answer[":status"] = tostring(status or tables.reasons[reason].status)
  answer["content-type"] = "application/json"
  handle:respond(answer, '{"message":' .. json.quote(message) .. ',"details":[' .. details .. "]}")
end

-- INVALID_REQUEST, with a message that says the same as its violations.
function refusal.invalid(handle, message, violations)
  local texts = {}
  for index, violation in ipairs(violations) do
    texts[index] = (violation.field ~= "" and violation.field or "It") .. " " .. violation.description
  end
  if #texts > 0 then message = message .. " " .. table.concat(texts, "; ") .. "." end
  refusal.send(handle, "INVALID_REQUEST", message, violations)
end

return refusal
