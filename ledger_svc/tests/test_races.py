"""Races between two processes on one database: whoever wins, nothing is doubled and every answer is true."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from datetime import datetime, timedelta
from typing import Any, LiteralString, TypeVar
from uuid import UUID

import psycopg
import pytest
from google.protobuf.empty_pb2 import Empty

from ledger_svc.journal.book import HoldState
from ledger_svc.journal.engine import Item
from ledger_svc.journal.holdings import Void
from ledger_svc.journal.sweeps import Sweeper
from ledger_svc.journal.values import Kind
from ledger_svc.tests.instances import PROGRAM, Instance, Twins, ask, prepare, superuser
from ledger_svc.verify.report import faults, findings
from svckit.clock import system_clock
from svckit.errors import Reason, Refused

Result = TypeVar("Result")

# Chance decides who comes first; the seed makes the order of the calls the same each time.
chance = random.Random(20261121)  # noqa: S311 - nothing secret

WAYS = (HoldState.CAPTURED, HoldState.VOIDED, HoldState.TIMED_OUT)
KINDS: LiteralString = """
SELECT a.owner, array_agg(e.kind ORDER BY e.version) FROM accounts a JOIN entries e USING (account_id) GROUP BY 1"""


@pytest.fixture(autouse=True)
async def sound(twins: Twins) -> AsyncIterator[None]:
    yield
    assert faults(await findings(twins.url)) == []


async def at_once(*calls: Awaitable[Result]) -> list[Result]:
    """All of them, started in an order by chance; the results stand in the order given."""
    tasks: dict[int, asyncio.Task[Result]] = {}
    for place in chance.sample(range(len(calls)), len(calls)):
        tasks[place] = asyncio.ensure_future(calls[place])
    return await asyncio.gather(*(tasks[place] for place in range(len(calls))))


async def members(twins: Twins, authority: Any, count: int, points: int, **more: Any) -> list[str]:
    """So many members with so many points each."""
    made = [f"r_{number}" for number in range(count)]
    await prepare(twins.one.address, authority, made)
    await asyncio.gather(*(twins.one.call("CreateCredit", member_id=one, points=points, **more) for one in made))
    return made


def an_hour_from_now() -> str:
    return (system_clock() + timedelta(hours=1)).isoformat()


def tomorrow() -> datetime:
    """The clock of a process that is ahead: for it everything of today has run out, for the others nothing."""
    return system_clock() + timedelta(days=1)


@pytest.mark.parametrize(("balance", "spend", "winners"), [(100, 100, 1), (1_000, 30, 33)])
async def test_fifty_spends_of_one_balance(twins: Twins, balance: int, spend: int, winners: int) -> None:  # G14
    await twins.one.call("CreateCredit", member_id="m_1", points=balance)
    outcomes = await at_once(
        *(process.outcome("RedeemPoints", member_id="m_1", points=spend) for process in twins.each(50))
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert refused == ["INSUFFICIENT_POINTS"] * (50 - winners)
    left = [balance - spend * number for number in range(1, winners + 1)]
    assert sorted((answer.balance for answer in outcomes if answer not in refused), reverse=True) == left
    assert await twins.balances("m_1") == left[-1:]


async def timed_out(process: Instance, hold_id: str) -> Any:
    """What the sweeper of a process whose clock is ahead does to a hold, no sooner than a call would come to it."""
    await process.outcome("GetRedemption", transaction_id=hold_id)
    item = Item(Void(UUID(hold_id), tomorrow(), timeout=True), None, lambda _: Empty())
    try:
        return await process.journal.post(PROGRAM, item, Empty)
    except Refused as refusal:
        return Reason.Name(refusal.reason)


async def test_a_hold_is_captured_or_voided_or_runs_out(twins: Twins, authority: Any) -> None:  # G7
    holders = await members(twins, authority, 8, 100)
    placed = [
        await twins.one.call("CreateHold", member_id=member_id, points=10, expires_at=an_hour_from_now())
        for member_id in holders * 6
    ]
    holds = [hold.hold_id for hold in placed]
    ends = await at_once(
        *(process.outcome("CapturePointsHold", hold_id=hold) for hold in holds for process in twins.each(2)),
        *(process.outcome("VoidPointsHold", hold_id=hold) for hold in holds for process in twins.each(2)),
        *(timed_out(process, hold) for hold in holds for process in twins.each(2)),
    )
    assert {end for end in ends if isinstance(end, str)} <= {"HOLD_NOT_ACTIVE"}
    states = {str(hold): HoldState(state) for hold, state in await ask(twins.url, "SELECT hold_id, state FROM holds")}
    won: dict[HoldState, Counter[str]] = {state: Counter() for state in WAYS}
    for place, end in enumerate(ends):
        if not isinstance(end, str):
            won[WAYS[place // (2 * len(holds))]][holds[place // 2 % len(holds)]] += 1
    for hold in holds:
        assert [won[state][hold] for state in WAYS] == [int(state is states[hold]) for state in WAYS]
    captured = Counter(holders[place % 8] for place, hold in enumerate(holds) if states[hold] is HoldState.CAPTURED)
    for member_id in holders:
        state = await twins.other.balance(member_id)
        assert (state.balance, state.held) == (100 - 10 * captured[member_id], 0)


@pytest.mark.parametrize(
    ("points", "winners", "refusal"), [(100, 1, "DUPLICATE_REVERSAL"), (30, 3, "REVERSAL_EXCEEDS")]
)
async def test_reversals_of_one_transaction_under_several_keys(
    twins: Twins, points: int, winners: int, refusal: str
) -> None:  # G9, G10
    await twins.one.call("CreateCredit", member_id="m_1", points=1_000)
    for _ in range(10):
        spent = await twins.one.call("RedeemPoints", member_id="m_1", points=100)
        outcomes = await at_once(
            *(
                process.outcome("ReversalPoints", transaction_id=spent.transaction_id, points=points)
                for process in twins.each(6)
            )
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, str)]
        assert refused == [refusal] * (6 - winners)
        assert await twins.balances("m_1") == [900 + points * winners]
        rest = await twins.one.outcome("ReversalPoints", transaction_id=spent.transaction_id)
        assert rest == refusal if points == 100 else rest.restored == 10


async def test_an_adjustment_is_approved_or_rejected(twins: Twins) -> None:  # G19
    for _ in range(10):
        [before] = await twins.balances("m_1")
        asked = await twins.one.call("CreateAdjustment", member_id="m_1", points=500, reason_code="GOODWILL")
        named = {"adjustment_id": asked.adjustment.adjustment_id}
        outcomes = await at_once(
            *(
                process.outcome("ApproveAdjustment", by=f"cred_{place}", **named)
                for place, process in enumerate(twins.each(4))
            ),
            *(process.outcome("RejectAdjustment", **named) for process in twins.each(4)),
        )
        assert [outcome for outcome in outcomes if isinstance(outcome, str)] == ["CONFLICT"] * 7
        approved = any(not isinstance(outcome, str) for outcome in outcomes[:4])
        assert await twins.balances("m_1") == [before + 500 * approved]


async def test_transfers_in_both_directions_lose_nothing_and_never_lock_up(twins: Twins, authority: Any) -> None:
    holders = await members(twins, authority, 10, 100)

    async def caller(process: Any) -> list[Any]:
        outcomes = []
        for _ in range(25):
            giver, taker = chance.sample(holders, 2)
            points = chance.randint(1, 60)
            transfer = {"from_member_id": giver, "to_member_id": taker, "points": points}
            outcomes.append(await process.outcome("CreateTransfer", **transfer))
        return outcomes

    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(caller(process)) for process in twins.each(16)]
        snapshots = await totals(twins.url, callers)
    assert snapshots == {(1_000, 1_000, 1_000)}
    outcomes = [outcome for task in callers for outcome in task.result()]
    refused = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert set(refused) <= {"INSUFFICIENT_POINTS"}
    assert len(outcomes) - len(refused) > 100
    assert await twins.deadlocks() == 0


async def totals(url: str, running: list[asyncio.Task[Any]]) -> set[tuple[int, ...]]:
    """What all members have together by their balances, entries and lots, in every snapshot taken meanwhile."""
    seen: set[tuple[int, ...]] = set()
    async with await psycopg.AsyncConnection.connect(superuser(url)) as connection:
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        while not all(task.done() for task in running):
            found = []
            for question in (
                "SELECT sum(posted) FROM accounts",
                "SELECT sum(amount) FROM entries",
                "SELECT sum(remaining) FROM lots",
                "SELECT min(posted) FROM accounts",
            ):
                found += await (await connection.execute(question)).fetchall()
            await connection.commit()
            assert found.pop()[0] >= 0  # L3
            seen.add(tuple(int(value) for (value,) in found))
    return seen


async def test_points_are_redeemed_or_run_out(twins: Twins, authority: Any) -> None:  # G3
    holders = await members(twins, authority, 20, 100, expires_at=an_hour_from_now())
    sweepers = [Sweeper(process.db, process.journal, tomorrow) for process in twins.each(4)]
    ends = await at_once(
        *(
            process.outcome("RedeemPoints", member_id=member_id, points=100)
            for member_id, process in zip(holders, twins.each(20), strict=True)
        ),
        *(sweeper.expire(PROGRAM, tomorrow(), member_id) for sweeper in sweepers for member_id in holders[::2]),
        *(sweeper.expire(PROGRAM, tomorrow()) for sweeper in sweepers),
    )
    kinds = await ask(twins.url, KINDS)
    for member_id, outcome in zip(holders, ends, strict=False):
        last = Kind.EXPIRE if outcome == "INSUFFICIENT_POINTS" else Kind.REDEEM
        assert dict(kinds)[member_id] == [Kind.EARN, last], outcome
    assert await twins.balances(*holders) == [0] * 20
