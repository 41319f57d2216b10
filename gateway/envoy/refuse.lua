-- Gives the refusals of callers whom the gatekeeper knows: what they may not call, and what is over their limits. It leaves
-- them beside the request, as the headers of a gRPC answer, so that they take the way of a service's refusals.

function envoy_on_request(handle)
  local told = handle:streamInfo():dynamicMetadata():get("envoy.filters.http.ext_authz") or {}
  local answer = told.refusal
  if answer then
    answer[":status"], answer["content-type"] = "200", "application/grpc"
    handle:respond(answer, "")
  end
end
