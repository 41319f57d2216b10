"""Envoy's rate-limit service: one GCRA bucket a credential, or a peer address for calls without one.

Buckets are in Redis, so that several limiters count together. Each also keeps its own count, which always
binds: without Redis a limit is per limiter, and never gone.
"""
