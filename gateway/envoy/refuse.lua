-- Gives the refusals of the gatekeeper and the limiter that have to wait: a call that its scope does not cover is
-- counted first, and gets the limits' headers. Both leave them beside the request, as the headers of a gRPC answer, so
-- that they take the way of a service's refusals. The gatekeeper's goes first.

local REFUSERS = { "envoy.filters.http.ext_authz", "envoy.filters.http.ratelimit" }

function envoy_on_request(handle)
  local metadata = handle:streamInfo():dynamicMetadata()
  for _, refuser in ipairs(REFUSERS) do
    local answer = (metadata:get(refuser) or {}).refusal
    if answer then
      answer[":status"], answer["content-type"] = "200", "application/grpc"
      return handle:respond(answer, "")
    end
  end
end
