"""The gateway: Envoy's configuration rendered from the protos, and the service that counts its callers.

It owns the v1 surface: which RPC is reachable from outside and how, the envelope around every answer, and
the limits. It holds no state but rate-limit buckets in Redis, which may be lost at any time.
"""
