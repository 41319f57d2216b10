"""`python -m gateway.ratelimit` serves Envoy's rate-limit service to the gateway, and to nobody else."""

import functools

from envoy_min import rls_pb2, rls_pb2_grpc
from rewards.identity.v1.limits_pb2_grpc import LimitsServiceStub
from rewards.options.v1.options_pb2 import Access, Idempotency

from gateway.ratelimit.buckets import Limiter, OwnBuckets, RedisBuckets
from gateway.ratelimit.quotas import Quotas
from gateway.ratelimit.servicer import RateLimitServicer
from svckit import clients, server, telemetry
from svckit.call import Method
from svckit.config import Config, required
from svckit.server import Served

SERVICE = rls_pb2.DESCRIPTOR.services_by_name["RateLimitService"]


def declared() -> dict[str, Method]:
    """Who may call. The proto is Envoy's and has no options of ours, so it is said here."""
    return {
        f"/{SERVICE.full_name}/{rpc.name}": Method(
            path=f"/{SERVICE.full_name}/{rpc.name}",
            service=SERVICE.full_name,
            name=rpc.name,
            access=Access(services=["gateway"]),
            idempotency=Idempotency.IDEMPOTENCY_UNSPECIFIED,
            request=rpc.input_type,
            foreign=True,
        )
        for rpc in SERVICE.methods
    }


async def main() -> None:
    """The process, top to bottom."""
    config = Config.from_env()
    telemetry.start("ratelimit", config.environment, config.metrics_listen)
    shared = RedisBuckets(required("REWARDS_REDIS_URL"))
    owner = LimitsServiceStub(clients.channel(config, "identity_svc"))
    quotas = Quotas(functools.partial(clients.invoke, owner.LeaseQuota))
    limiter = Limiter(OwnBuckets(), shared)
    servicer = RateLimitServicer(limiter, quotas)
    served = Served(SERVICE, rls_pb2_grpc.add_RateLimitServiceServicer_to_server, servicer)
    await server.serve(config, [served], declared=declared())
    await limiter.told()
    await shared.close()


if __name__ == "__main__":
    server.run(main())
