"""LimitsService: what a credential may still spend, and the parts of daily quotas that limiters get."""

from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from rewards.identity.v1 import limits_pb2 as pb
from rewards.identity.v1.limits_pb2_grpc import LimitsServiceServicer

from identity_svc.limits import rules, store
from identity_svc.limits.rules import Lease
from svckit import call
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused

# What the limiter tells of each call that it has counted: the numbers of a Rate and a Quota, in their order.
HEADER: Final = "x-rewards-limits"


class LimitsServicer(LimitsServiceServicer):
    """`db` is the gatekeeper's: calls wait for a lease as they wait for the gatekeeper."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def GetLimits(self, request: pb.GetLimitsRequest, context: Any) -> pb.GetLimitsResponse:
        """Shows what the limiter has just counted."""
        told = call.current().metadata.get(HEADER)
        if told is None:
            raise Refused(Reason.UNAVAILABLE, "Nobody counts at the moment.", retry_after_s=1)
        per_second, burst, left, reset_s, per_day, left_today, day_ends_s = map(int, told.split())
        return pb.GetLimitsResponse(
            rate=pb.GetLimitsResponse.Rate(
                requests_per_second=per_second, burst=burst, remaining=left, reset_seconds=reset_s
            ),
            quota=pb.GetLimitsResponse.Quota(requests_per_day=per_day, remaining=left_today, reset_seconds=day_ends_s),
        )

    async def LeaseQuota(self, request: pb.LeaseQuotaRequest, context: Any) -> pb.LeaseQuotaResponse:
        """Hands out a part of a quota, and answers when that is durable."""

        async def work(tx: Tx) -> tuple[str, Lease]:
            found = await store.lock(tx, request.credential_id)
            after, leased = rules.lease(found, request.requests_per_day, request.needed)
            await store.keep(tx, after)
            return after.day.isoformat(), leased

        day, leased = await self._db.transact(work)
        lasts = Duration()
        lasts.FromTimedelta(leased.lasts)
        return pb.LeaseQuotaResponse(granted=leased.granted, left=leased.left, day=day, lasts=lasts)
