-- Finds the route of a path, the way the transcoder does: segment by segment, a literal before a variable,
-- and a verb after the last colon only if some route has that verb.

local tables = require("tables")

local router = {}

local root, verbs = { literals = {} }, {}

for number, route in ipairs(tables.routes) do
  route.number = number
  local node = root
  for segment in route.path:gmatch("[^/]+") do
    local children = segment == "*" and node or node.literals
    local name = segment == "*" and "variable" or segment
    children[name] = children[name] or { literals = {} }
    node = children[name]
  end
  if route.verb ~= "" then verbs[route.verb] = true end
  node.leaves = node.leaves or {}
  node.leaves[route.verb] = node.leaves[route.verb] or {}
  node.leaves[route.verb][route.method] = route
end

local function descend(node, segments, depth, verb)
  if depth > #segments then return node.leaves and node.leaves[verb] end
  local segment = segments[depth]
  local literal = node.literals[segment]
  local found = literal and descend(literal, segments, depth + 1, verb)
  if found then return found end
  -- A variable is never empty, so "/v1/rewards/" is not the reward without a name.
  return node.variable and segment ~= "" and descend(node.variable, segments, depth + 1, verb) or nil
end

-- The routes of `path` (without query) by HTTP method, or nil if there is none, and the path's segments.
function router.find(path)
  local segments = {}
  for segment in (path:sub(2) .. "/"):gmatch("([^/]*)/") do segments[#segments + 1] = segment end
  local last = segments[#segments] or ""
  local head, verb = last:match("^(.*):([^:]*)$")
  if verb and verbs[verb] then
    segments[#segments] = head
    return descend(root, segments, 1, verb), segments
  end
  return descend(root, segments, 1, ""), segments
end

return router
