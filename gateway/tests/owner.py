"""Who owns daily quotas, for tests of those who spend them: hands out tenths, by a clock that a test turns."""

import asyncio
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration
from rewards.identity.v1.limits_pb2 import LeaseQuotaRequest, LeaseQuotaResponse

from svckit.errors import Reason, Refused

DAY_S = 86_400


@dataclass
class Owner:
    """Everybody's quotas. It does not answer while `open` is not set; `lost` answers do not arrive."""

    now_s: float = 0.0
    leased: dict[tuple[str, int], int] = field(default_factory=dict)
    asked: int = 0
    lost: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    def clock(self) -> float:
        return self.now_s

    async def lease(self, request: LeaseQuotaRequest) -> LeaseQuotaResponse:
        self.asked += 1
        await self.open.wait()
        day, passed_s = divmod(self.now_s, DAY_S)
        key, quota, needed = (request.credential_id, int(day)), request.requests_per_day, request.needed
        free = max(0, quota - self.leased.get(key, 0))
        granted = 0 if free < needed else min(free, max(needed, quota // 10))
        self.leased[key] = self.leased.get(key, 0) + granted
        if self.lost:
            self.lost -= 1
            raise Refused(Reason.UNAVAILABLE, "The answer is lost.")
        lasts = Duration(seconds=DAY_S - int(passed_s))
        return LeaseQuotaResponse(granted=granted, left=free - granted, day=str(int(day)), lasts=lasts)
