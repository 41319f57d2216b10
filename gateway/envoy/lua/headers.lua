-- What of a request's headers goes on. gRPC reads some names by itself, and keeps what it could not read in the table
-- that all requests of a connection share: one caller's bad "grpc-timeout" would be everybody's. So nothing goes on
-- but what somebody behind this filter reads, and of that only what it can read.

local headers = {}

local ANY = function() return true end
local PLAIN = function(value) return not value:find("[^\t\32-\126]") end
local ENCODINGS = { identity = true, gzip = true, deflate = true }

local KEPT = {
  -- Their readers refuse what they do not like, and say so.
  ["authorization"] = ANY,
  ["idempotency-key"] = ANY,
  ["x-api-key"] = ANY,
  -- HTTP's own.
  ["content-encoding"] = PLAIN,
  ["content-length"] = PLAIN,
  ["content-type"] = PLAIN,
  ["host"] = PLAIN,
  ["if-none-match"] = PLAIN,
  ["te"] = function(value) return value == "trailers" end,
  ["transfer-encoding"] = PLAIN,
  ["user-agent"] = PLAIN,
  -- A provider's signature.
  ["webhook-id"] = PLAIN,
  ["webhook-timestamp"] = PLAIN,
  ["webhook-signature"] = PLAIN,
  -- The gatekeeper's: Envoy has set it.
  ["x-rewards-peer"] = PLAIN,
  -- Traces.
  ["traceparent"] = PLAIN,
  ["tracestate"] = PLAIN,
  ["x-request-id"] = PLAIN,
  ["x-trace-id"] = PLAIN,
  -- gRPC's.
  ["grpc-accept-encoding"] = PLAIN,
  ["grpc-encoding"] = function(value) return ENCODINGS[value] end,
  ["grpc-timeout"] = function(value) return #value <= 9 and value:find("^%d+[HMSmun]$") end,
}

local function is_kept(name, value)
  if name:byte() == 58 then return true end -- a pseudo-header
  if name:find("^x%-envoy%-") or name:find("^x%-forwarded%-") then return PLAIN(value) end -- Envoy's own by now
  local check = KEPT[name]
  return check and check(value)
end

-- Removes what does not go on. A header that stands twice goes on only if both do.
function headers.clean(sent)
  local dropped = {}
  for name, value in pairs(sent) do
    if not is_kept(name, value) then dropped[#dropped + 1] = name end
  end
  for _, name in ipairs(dropped) do sent:remove(name) end
end

return headers
