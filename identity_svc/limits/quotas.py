"""What is left of credentials' daily quotas, as far as this process has it in hand.

The database has them, and hands out parts: a call is paid for out of the part in hand, and only when that is not
enough another is asked for. What is in hand is spent for everybody else, so that however many processes count and
whatever they forget, no more than the quota passes.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass
from datetime import date
from typing import Final

from identity_svc.limits.buckets import KEYS_MAX
from identity_svc.limits.rules import Lease
from svckit.errors import Reason, Refused

# Envoy waits for a second, and half of that may be gone by now. The asking itself goes on: an answer that nobody hears
# would be a part that nobody spends.
WAIT_S: Final = 0.3

# Of a credential's quota, as much as is needed: see `leases.lease`.
Leasing = Callable[[str, int, int], Awaitable[Lease]]


@dataclass(slots=True)
class Purse:
    """A credential's part: what is in hand of it, and what was left when the database was last asked."""

    quota: int
    day: date
    ends_at_s: float
    held: int
    left: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a call of a credential may pass, and how the day stands after it."""

    allowed: bool
    quota: int
    remaining: int
    reset_s: int


class Quotas:
    """The purses, at most `KEYS_MAX`; the longest unused is forgotten, and lost with what it holds."""

    def __init__(self, lease: Leasing, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease
        self._clock = clock
        self._purses: OrderedDict[str, Purse] = OrderedDict()
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def take(self, credential: str, quota: int, cost: int) -> Standing:
        """Pays for a call, if there is enough. A call that costs more than the quota passes where none was spent: it
        is dear, not forbidden. Raises UNAVAILABLE if the database has to be asked and does not answer in time."""
        cost = min(cost, quota)
        while True:
            purse = self._today(credential)
            if purse is not None and purse.held >= cost:
                purse.held -= cost
                self._purses.move_to_end(credential)
                return self._standing(purse, allowed=True)
            # What is left only shrinks, unless the plan is another.
            if purse is not None and purse.quota == quota and purse.held + purse.left < cost:
                return self._standing(purse, allowed=False)
            held = 0 if purse is None else purse.held
            await self._ask(credential, quota, cost - held)

    def give_back(self, credential: str, quota: int, cost: int) -> None:
        """Undoes a call that was paid for and then refused elsewhere."""
        purse = self._today(credential)
        if purse is not None:
            purse.held += min(cost, quota)

    def _today(self, credential: str) -> Purse | None:
        purse = self._purses.get(credential)
        return None if purse is None or purse.ends_at_s <= self._clock() else purse

    def _standing(self, purse: Purse, *, allowed: bool) -> Standing:
        lasts_s = math.ceil(purse.ends_at_s - self._clock())
        return Standing(allowed, purse.quota, purse.held + purse.left, max(1, lasts_s))

    async def _ask(self, credential: str, quota: int, needed: int) -> None:
        # Those who wait for the same purse share one question; it goes on if all of them give up.
        task = self._asking.get(credential)
        if task is None:
            # In a context of its own: it may take longer than the call that it begins with.
            task = asyncio.create_task(self._fill(credential, quota, needed), context=Context())
            self._asking[credential] = task
        try:
            async with asyncio.timeout(WAIT_S):
                await asyncio.shield(task)
        except (TimeoutError, Refused):
            raise Refused(Reason.UNAVAILABLE, "The quota cannot be read now.", retry_after_s=1) from None

    async def _fill(self, credential: str, quota: int, needed: int) -> None:
        asked_at_s = self._clock()
        try:
            leased = await self._lease(credential, quota, needed)
        finally:
            # Before anybody can find the question answered and the part spent already: they must ask anew.
            del self._asking[credential]
        earlier = self._purses.pop(credential, None)
        kept = earlier.held if earlier is not None and earlier.day == leased.day else 0
        self._purses[credential] = Purse(
            quota=quota,
            day=leased.day,
            ends_at_s=asked_at_s + leased.lasts.total_seconds(),
            held=kept + leased.granted,
            left=leased.left,
        )
        if len(self._purses) > KEYS_MAX:
            self._purses.popitem(last=False)
