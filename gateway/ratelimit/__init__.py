"""Envoy's rate-limit service: one GCRA bucket a credential, or a peer address for calls without one, and each
credential's quota of the day.

Buckets are in Redis, so that several limiters count together. Each also keeps its own count, which always
binds: without Redis a limit is per limiter, and never gone. Quotas are identity_svc's, and are spent in parts.
"""
