"""Who owns daily quotas, for tests of those who spend them: hands out tenths, by a clock that a test turns."""

import asyncio
from dataclasses import dataclass, field
from datetime import date, timedelta

from identity_svc.limits.rules import Lease
from svckit.errors import Reason, Refused

DAY_S = 86_400
FIRST = date(2026, 3, 1)


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

    async def lease(self, credential_id: str, quota: int, needed: int) -> Lease:
        self.asked += 1
        await self.open.wait()
        day, passed_s = divmod(int(self.now_s), DAY_S)
        free = max(0, quota - self.leased.get((credential_id, day), 0))
        granted = 0 if free < needed else min(free, max(needed, quota // 10))
        self.leased[credential_id, day] = self.leased.get((credential_id, day), 0) + granted
        if self.lost:
            self.lost -= 1
            raise Refused(Reason.UNAVAILABLE, "The answer is lost.")
        return Lease(FIRST + timedelta(days=day), granted, free - granted, timedelta(seconds=DAY_S - passed_s))
