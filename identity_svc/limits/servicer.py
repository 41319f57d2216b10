"""LimitsService: what a credential may still spend."""

from typing import Any

from rewards.identity.v1 import limits_pb2 as pb
from rewards.identity.v1.limits_pb2_grpc import LimitsServiceServicer

from identity_svc.limits.meter import HEADER
from svckit import call


class LimitsServicer(LimitsServiceServicer):
    """Nothing is counted here: a call that came through the gateway has its numbers with it."""

    async def GetLimits(self, request: pb.GetLimitsRequest, context: Any) -> pb.GetLimitsResponse:
        """Shows what the gatekeeper has just counted."""
        told = call.current().metadata[HEADER]
        per_second, burst, left, reset_s, per_day, left_today, day_ends_s = map(int, told.split())
        return pb.GetLimitsResponse(
            rate=pb.GetLimitsResponse.Rate(
                requests_per_second=per_second, burst=burst, remaining=left, reset_seconds=reset_s
            ),
            quota=pb.GetLimitsResponse.Quota(requests_per_day=per_day, remaining=left_today, reset_seconds=day_ends_s),
        )
