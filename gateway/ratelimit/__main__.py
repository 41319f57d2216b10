"""`python -m gateway.ratelimit` serves Envoy's rate-limit service to the gateway, and to nobody else."""

import functools

from rewards.identity.v1.limits_pb2_grpc import LimitsServiceStub

from gateway.ratelimit.buckets import Limiter, OwnBuckets, RedisBuckets
from gateway.ratelimit.quotas import Quotas
from gateway.ratelimit.servicer import RateLimitServicer
from svckit import clients, server, telemetry
from svckit.config import Config, required


async def main() -> None:
    """The process, top to bottom."""
    config = Config.from_env()
    telemetry.start("ratelimit", config.environment, config.metrics_listen)
    shared = RedisBuckets(required("REWARDS_REDIS_URL"))
    owner = LimitsServiceStub(clients.channel(config, "identity_svc"))
    quotas = Quotas(functools.partial(clients.invoke, owner.LeaseQuota))
    limiter = Limiter(OwnBuckets(), shared)
    servicer = RateLimitServicer(limiter, quotas)
    await server.serve(config, [servicer])
    await limiter.told()
    await shared.close()


if __name__ == "__main__":
    server.run(main())
