"""The whole mesh on one machine, from wheels: PostgreSQL, Redis, Envoy, the services and what stands in for the world.

It owns no business fact. Its promises: readiness is awaited and never slept for, a process that dies is named with its
last log lines and started again, stopping leaves no process, and the data of one home survives a restart. It may import
every package of the tree; none of them imports it, except `svckit.testing`, which borrows the throwaway PostgreSQL and
Redis and the certificates (modules that know nothing of the services).
"""
