-- Envoy calls these two for every request and every answer. Refusals of the first pass through the second.

local request = require("request")
local response = require("response")

-- Envoy lets a request go on when its script fails. Here nothing goes on that was not read to its end.
function envoy_on_request(handle)
  local read, problem = pcall(request.receive, handle)
  if not read then
    handle:logErr("request: " .. tostring(problem))
    handle:respond({ [":status"] = "500" }, "")
  end
end

function envoy_on_response(handle) response.answer(handle) end
