"""What a call costs its caller, and what the caller is told of it beside the answer."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from identity_svc.credentials.rules import Plan
from identity_svc.limits.buckets import Limiter
from identity_svc.limits.gcra import Decision, Limit
from identity_svc.limits.quotas import Quotas, Standing
from svckit.errors import Reason, Refused

# What of the limits goes on to the service, for GetLimits to show: the numbers of a Rate and a Quota, in their order.
HEADER: Final = "x-rewards-limits"
# Callers without a credential share what their address may do: the sandbox and an office have one address.
_OF_AN_ADDRESS: Final = Limit(per_second=50, burst=200)


class Window(NamedTuple):
    """A limit as callers are told of it, in whole requests and seconds."""

    limit: int
    remaining: int
    reset_s: int


@dataclass(frozen=True, slots=True)
class Spent:
    """How a call was counted: the limit nearest its end, if it could be read, all of them for GetLimits, and the
    refusal of a call that is over one, which counts for nothing."""

    nearest: Window | None
    counted: str = ""
    refused: Refused | None = None


class Meter:
    """Takes calls out of the second's bucket and the day's quota: out of both or neither."""

    def __init__(self, limiter: Limiter, quotas: Quotas) -> None:
        self._limiter = limiter
        self._quotas = quotas

    async def by_credential(self, name: str, plan: Plan, cost: int) -> Spent:
        """Counts a call of a credential that has this plan."""
        try:
            standing = await self._quotas.take(name, plan.requests_per_day, cost)
        except Refused as refused:
            return Spent(None, refused=refused)
        day = Window(standing.quota, standing.remaining, standing.reset_s)
        if not standing.allowed:
            return Spent(day, refused=_exhausted(standing))
        limit = Limit(plan.requests_per_second, plan.burst)
        decision = await self._limiter.take(f"credential:{name}", limit, cost)
        rate = _rate(decision)
        if not decision.allowed:
            self._quotas.give_back(name, plan.requests_per_day, cost)
            return Spent(rate, refused=_too_fast(decision))
        nearest = min(day, rate, key=lambda window: window.remaining)
        return Spent(nearest, " ".join(map(str, (limit.per_second, *rate, *day))))

    async def by_address(self, address: str) -> Spent:
        """Counts a call without a credential, which has no quota of the day."""
        decision = await self._limiter.take(f"address:{address}", _OF_AN_ADDRESS, 1)
        rate = _rate(decision)
        if not decision.allowed:
            return Spent(rate, refused=_too_fast(decision))
        return Spent(rate, " ".join(map(str, (_OF_AN_ADDRESS.per_second, *rate))))


def _rate(decision: Decision) -> Window:
    return Window(decision.limit.burst, decision.remaining, decision.reset_s)


def _too_fast(decision: Decision) -> Refused:
    return Refused(Reason.RATE_LIMITED, "Too many requests.", retry_after_s=decision.retry_after_s)


def _exhausted(standing: Standing) -> Refused:
    return Refused(Reason.QUOTA_EXHAUSTED, "The day's quota is used up.", retry_after_s=standing.reset_s)
