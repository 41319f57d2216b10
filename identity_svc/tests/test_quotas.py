"""Daily quotas as processes spend them: never more than there is, whoever dies, and few questions."""

import asyncio
from contextvars import ContextVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from identity_svc.limits.quotas import Quotas
from identity_svc.limits.rules import Lease
from identity_svc.tests.owner import DAY_S, Owner
from svckit.errors import Reason, Refused

QUOTA = 1_000


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the question is what is decided, and the machine may be busy."""
    monkeypatch.setattr("identity_svc.limits.quotas.WAIT_S", 10)


def made(owner: Owner) -> Quotas:
    return Quotas(owner.lease, owner.clock)


async def passed(quotas: Quotas, calls: int, *, cost: int = 1, quota: int = QUOTA, who: str = "c") -> int:
    """How many of so many calls pass, a few dozen at once."""
    allowed = 0
    for first in range(0, calls, 50):
        at_once = range(first, min(first + 50, calls))
        standings = await asyncio.gather(*(quotas.take(who, quota, cost) for _ in at_once))
        allowed += sum(standing.allowed for standing in standings)
    return allowed


async def test_the_quota_passes_whole_and_is_asked_for_in_parts() -> None:
    owner = Owner()
    quotas = made(owner)
    assert await passed(quotas, QUOTA + 500) == QUOTA
    assert owner.asked == 10
    # What is used up is known to be: nobody has to be asked.
    assert await passed(quotas, 500) == 0
    assert owner.asked == 10
    assert await passed(quotas, 5, who="another") == 5


async def test_what_is_told_is_what_passes() -> None:
    owner = Owner()
    quotas = made(owner)
    for number in range(1, 251):
        standing = await quotas.take("c", QUOTA, 4)
        assert (standing.allowed, standing.remaining, standing.quota) == (True, QUOTA - 4 * number, QUOTA)
    owner.now_s = 100
    refused = await quotas.take("c", QUOTA, 1)
    assert (refused.allowed, refused.remaining, refused.reset_s) == (False, 0, DAY_S - 100)


async def test_a_day_ends_for_what_is_in_hand_as_well() -> None:
    owner = Owner(now_s=DAY_S - 10)
    quotas = made(owner)
    assert await passed(quotas, 50) == 50
    owner.now_s = DAY_S - 1
    assert await passed(quotas, 10) == 10
    owner.now_s = DAY_S
    assert await passed(quotas, 2 * QUOTA) == QUOTA
    assert owner.leased["c", 1] == QUOTA


@settings(max_examples=60, deadline=None)
@given(
    quota=st.integers(1, 300),
    steps=st.lists(
        st.tuples(
            st.integers(0, 2), st.integers(1, 30), st.sampled_from(["call", "call", "call", "die", "lose", "wait"])
        ),
        max_size=120,
    ),
)
def test_no_more_than_the_quota_passes_in_a_day_whatever_happens(quota: int, steps: list[tuple[int, int, str]]) -> None:
    async def play() -> None:
        owner = Owner()
        processes = [made(owner) for _ in range(3)]
        spent: dict[int, int] = {}
        for which, amount, step in steps:
            if step == "die":
                processes[which] = made(owner)
            elif step == "lose":
                owner.lost = 1
            elif step == "wait":
                owner.now_s += amount * 3_000
            else:
                day = int(owner.now_s // DAY_S)
                try:
                    standing = await processes[which].take("c", quota, amount)
                except Refused:
                    continue
                spent[day] = spent.get(day, 0) + (min(amount, quota) if standing.allowed else 0)
                assert spent[day] <= owner.leased["c", day] <= quota

    asyncio.run(play())


async def test_a_process_that_dies_loses_at_most_a_part() -> None:
    owner = Owner()
    assert await passed(made(owner), 1) == 1
    assert await passed(made(owner), QUOTA) == QUOTA - QUOTA // 10


async def test_two_processes_leave_at_most_a_part_each() -> None:
    owner = Owner()
    one, other = made(owner), made(owner)
    assert await passed(one, 1) == 1
    both = sum(await asyncio.gather(passed(other, QUOTA), passed(one, 1)))
    assert QUOTA - QUOTA // 10 <= 1 + both <= QUOTA


async def test_a_call_dearer_than_the_quota_needs_all_of_it() -> None:
    owner = Owner()
    quotas = made(owner)
    assert await passed(quotas, 1, cost=50, quota=5) == 1
    assert await passed(quotas, 1, quota=5) == 0


async def test_a_call_that_was_refused_elsewhere_is_given_back() -> None:
    quotas = made(Owner())
    assert await passed(quotas, 1, cost=QUOTA) == 1
    quotas.give_back("c", QUOTA, QUOTA)
    assert await passed(quotas, 2 * QUOTA) == QUOTA


@pytest.mark.parametrize(("later", "more"), [(2 * QUOTA, QUOTA), (QUOTA // 2, 0)])
async def test_a_changed_plan_holds_on_the_same_day(later: int, more: int) -> None:
    quotas = made(Owner())
    assert await passed(quotas, 2 * QUOTA) == QUOTA
    assert await passed(quotas, 2 * QUOTA, quota=later) == more


async def test_plans_that_alternate_lose_nothing() -> None:
    # Two gatekeepers tell of a change half a second apart.
    quotas, total = made(Owner()), 0
    for number in range(4 * QUOTA):
        total += await passed(quotas, 1, quota=QUOTA + number % 2)
    assert total == QUOTA + 1


async def test_without_an_answer_a_call_is_refused_and_the_part_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("identity_svc.limits.quotas.WAIT_S", 0.02)
    owner = Owner()
    quotas = made(owner)
    owner.open.clear()
    for _ in range(3):
        with pytest.raises(Refused) as refused:
            await quotas.take("c", QUOTA, 1)
        assert (refused.value.reason, refused.value.retry_after_s) == (Reason.UNAVAILABLE, 1)
    monkeypatch.setattr("identity_svc.limits.quotas.WAIT_S", 10)
    owner.open.set()
    assert await passed(quotas, 2 * QUOTA) == QUOTA
    assert owner.asked == 10


async def test_an_owner_that_fails_is_asked_again_by_the_next_call() -> None:
    owner = Owner(lost=1)
    quotas = made(owner)
    with pytest.raises(Refused) as refused:
        await quotas.take("c", QUOTA, 1)
    assert refused.value.reason == Reason.UNAVAILABLE
    assert await passed(quotas, 2 * QUOTA) == QUOTA - QUOTA // 10


async def test_the_asking_outlives_the_call_that_began_it() -> None:
    contexts: list[str | None] = []

    async def lease(credential_id: str, quota: int, needed: int) -> Lease:
        contexts.append(remembered.get(None))
        return await owner.lease(credential_id, quota, needed)

    remembered: ContextVar[str | None] = ContextVar("call")
    remembered.set("a call with 0.3 s left")
    owner = Owner()
    assert await passed(Quotas(lease, owner.clock), 1) == 1
    assert contexts == [None]


async def test_purses_are_bounded_and_the_longest_unused_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("identity_svc.limits.quotas.KEYS_MAX", 3)
    quotas = made(Owner())
    for who in "abcad":
        await quotas.take(who, QUOTA, 1)
    assert set(quotas._purses) == set("acd")
