"""Calls as they are counted: out of the second and the day or out of neither, and what a caller is told of it."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from identity_svc.credentials.rules import Plan
from identity_svc.limits.buckets import Limiter, OwnBuckets, RedisBuckets
from identity_svc.limits.meter import Meter, Spent, Window
from identity_svc.limits.quotas import Quotas
from identity_svc.tests.owner import DAY_S, Owner
from identity_svc.tests.running import NOWHERE
from svckit.errors import Reason, Refused

PLAN = Plan("p", requests_per_second=1, burst=5, requests_per_day=10)


@pytest.fixture
def owner() -> Owner:
    return Owner(now_s=DAY_S - 60)


@pytest.fixture
async def meter(owner: Owner) -> AsyncIterator[Meter]:
    # Without Redis: what processes share is another test's matter.
    limiter = Limiter(OwnBuckets(owner.clock), RedisBuckets(NOWHERE))
    yield Meter(limiter, Quotas(owner.lease, owner.clock))
    await limiter.close()


def why(spent: Spent) -> tuple[str, int | None]:
    """The reason of a refusal, and when to come again."""
    assert isinstance(spent.refused, Refused)
    assert not spent.counted
    return Reason.Name(spent.refused.reason), spent.refused.retry_after_s


async def test_the_window_that_is_nearest_its_end_is_told(meter: Meter) -> None:
    assert await meter.by_credential("c", PLAN, 2) == Spent(Window(5, 3, 2), "1 5 3 2 10 8 60")
    assert await meter.by_credential("d", replace(PLAN, burst=50), 2) == Spent(Window(10, 8, 60), "1 50 48 2 10 8 60")


async def test_who_comes_too_fast_is_told_when_to_come_again_and_pays_nothing(meter: Meter) -> None:
    await meter.by_credential("c", PLAN, 4)
    over = await meter.by_credential("c", PLAN, 3)
    assert (over.nearest, why(over)) == (Window(5, 1, 4), ("RATE_LIMITED", 2))
    assert await meter.by_credential("c", PLAN, 1) == Spent(Window(5, 0, 5), "1 5 0 5 10 5 60")


async def test_whose_quota_is_used_up_is_told_to_come_tomorrow_and_is_not_counted_for_the_rate(meter: Meter) -> None:
    plan = replace(PLAN, requests_per_day=4)
    await meter.by_credential("c", plan, 3)
    over = await meter.by_credential("c", plan, 2)
    assert (over.nearest, why(over)) == (Window(4, 1, 60), ("QUOTA_EXHAUSTED", 60))
    assert (await meter.by_credential("c", plan, 1)).counted == "1 5 1 4 4 0 60"


async def test_a_quota_that_cannot_be_read_lets_nothing_through(meter: Meter, owner: Owner) -> None:
    owner.lost = 1
    unread = await meter.by_credential("c", PLAN, 1)
    assert (unread.nearest, why(unread)) == (None, ("UNAVAILABLE", 1))


async def test_an_address_has_a_rate_and_no_quota(meter: Meter, owner: Owner) -> None:
    assert await meter.by_address("c") == Spent(Window(200, 199, 1), "50 200 199 1")
    passed = sum([(await meter.by_address("c")).refused is None for _ in range(300)])
    assert passed == 199
    assert why(await meter.by_address("c")) == ("RATE_LIMITED", 1)
    # A credential of the same name is somebody else.
    assert (await meter.by_credential("c", PLAN, 5)).refused is None
    assert owner.asked == 1
