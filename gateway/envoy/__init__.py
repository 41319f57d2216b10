"""Envoy's whole bootstrap, rendered from the descriptors of the protos.

A partner's request goes health check → CORS → compressor → envelope (Lua) → transcoder → ext_authz →
local rate limit → router. What is reachable is what the protos declare: an RPC without public, claim,
partner, scope, member or operator access has no route, so no mistake in a list can open it.
"""
