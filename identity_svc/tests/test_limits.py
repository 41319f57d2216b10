"""Daily quotas as they are handed out, and what a caller is told of its limits."""

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rewards.identity.v1 import limits_pb2 as pb
from rewards.identity.v1.limits_pb2_grpc import LimitsServiceStub
from sqlalchemy import update

from identity_svc.credentials.keys import Hasher
from identity_svc.credentials.servicer import create_operator
from identity_svc.limits import leases, rules
from identity_svc.limits.rules import PARTS, Account
from identity_svc.limits.tables import quotas
from identity_svc.tests.running import OPERATOR, PEPPER, Running, reason
from svckit.call import Kind, Principal
from svckit.errors import Reason, Refused
from svckit.testing import headers, partner

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
Lease = Callable[..., Any]


TODAY = NOON.date()


def account(leased: int = 0, day: date = TODAY, now: datetime = NOON) -> Account:
    return Account("acme", "c", day, leased, now)


@given(
    st.integers(1, 10**12),
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 20)), max_size=200),
)
def test_no_more_than_the_quota_is_handed_out_a_day(quota: int, asked: list[tuple[int, int]]) -> None:
    found, of_day = account(), {TODAY: 0}
    for needed, hours in asked:
        found = account(found.leased, found.day, found.now + timedelta(hours=hours))
        found, leased = rules.lease(found, quota, needed)
        of_day[found.day] = of_day.get(found.day, 0) + leased.granted
        assert leased.granted == 0 or leased.granted >= min(needed, quota)
        assert leased.granted <= max(needed, -(-quota // PARTS))
        assert leased.left == quota - of_day[found.day] >= 0
        # Nothing is kept back from somebody whose need is met by what is left.
        assert leased.granted or leased.left < needed
        assert found.now + leased.lasts == datetime.combine(found.day, datetime.min.time(), UTC) + timedelta(days=1)


@pytest.mark.parametrize("quota", [1, 99, 100, 10_000, 1_000_000])
def test_a_quota_is_used_up_in_about_a_hundred_leases(quota: int) -> None:
    found, leases = account(), 0
    while True:
        found, leased = rules.lease(found, quota, 1)
        if not leased.granted:
            break
        leases += 1
    assert found.leased == quota
    assert leases <= PARTS


def test_a_lease_that_began_yesterday_and_waited_is_of_today() -> None:
    late = NOON.replace(hour=23, minute=59, second=59)
    after, leased = rules.lease(account(90, date(2026, 3, 2), late), 100, 5)
    assert (after.day, after.leased, leased.left) == (date(2026, 3, 2), 95, 5)


def test_a_quota_that_has_shrunk_below_what_was_handed_out_gives_nothing_more() -> None:
    after, leased = rules.lease(account(500), 100, 1)
    assert (after.leased, leased.granted, leased.left) == (500, 0, 0)


@pytest.fixture
def lease(identity: Running) -> Lease:
    """Hands out a part of the database's."""

    async def hand_out(credential_id: str, quota: int, needed: int = 1) -> rules.Lease:
        return await leases.lease(identity.db, credential_id, quota, needed)

    return hand_out


async def test_those_who_ask_at_once_get_no_more_than_the_quota(identity: Running, lease: Lease) -> None:
    key = await identity.api_key("points:read")
    other = await identity.client("points:read")
    answers = await asyncio.gather(*(lease(key.key_id, 1_000, 7) for _ in range(150)))
    assert sum(answer.granted for answer in answers) == 1_000
    assert sorted(answer.left for answer in answers) == [*[0] * 50, *range(0, 1_000, 10)]
    (answer,) = {(answer.day, answer.lasts <= timedelta(days=1)) for answer in answers}
    assert answer == (datetime.now(UTC).date(), True)
    assert (await lease(other.client_id, 1_000)).left == 990


async def test_another_day_has_a_quota_of_its_own(identity: Running, lease: Lease) -> None:
    key = await identity.api_key("points:read")
    assert (await lease(key.key_id, 5, 5)).granted == 5
    assert (await lease(key.key_id, 5)).granted == 0
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    await identity.db.transact(lambda tx: tx.execute(update(quotas).values(day=yesterday)))
    assert (await lease(key.key_id, 5, 5)).granted == 5


async def test_an_operators_quota_is_one_as_well_and_nobodys_is_none(identity: Running, lease: Lease) -> None:
    operator = await create_operator(identity.db, Hasher(PEPPER), "ops")
    credential_id = operator.rpartition("_")[0]
    assert (await lease(credential_id, 10_000_000)).granted == 100_000
    with pytest.raises(Refused) as refused:
        await lease("rk_test_nobody", 10)
    assert refused.value.reason == Reason.NOT_FOUND


async def limits(identity: Running, caller: Principal, told: str) -> pb.GetLimitsResponse:
    metadata = (*headers(caller), ("x-rewards-limits", told))
    answer: pb.GetLimitsResponse = await LimitsServiceStub(identity.gateway).GetLimits(
        pb.GetLimitsRequest(), metadata=metadata
    )
    return answer


async def test_a_caller_is_told_what_the_gatekeeper_has_counted(identity: Running) -> None:
    answer = await limits(identity, partner("acme"), "20 40 39 1 10000 9999 3600")
    assert answer.rate == pb.GetLimitsResponse.Rate(requests_per_second=20, burst=40, remaining=39, reset_seconds=1)
    assert answer.quota == pb.GetLimitsResponse.Quota(requests_per_day=10_000, remaining=9_999, reset_seconds=3_600)


@pytest.mark.parametrize("caller", [OPERATOR, Principal(Kind.MEMBER, "cl", "acme", member_id="m")])
async def test_the_limits_are_for_partners(identity: Running, caller: Principal) -> None:
    assert await reason(limits(identity, caller, "1 1 1 1 1 1 1")) == "PERMISSION_DENIED"
