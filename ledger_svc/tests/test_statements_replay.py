"""Balances as of any instant, statements and the expiry schedule, against a replay in plain Python."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.empty_pb2 import Empty
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger_svc.journal import store as journal_store
from ledger_svc.journal.book import Posted, Posting
from ledger_svc.journal.engine import Item, Journal
from ledger_svc.journal.holdings import Capture, PlaceHold, Void
from ledger_svc.journal.postings import Credit, Redeem
from ledger_svc.journal.undoings import Reverse
from ledger_svc.journal.values import MAX_AMOUNT, TICK, Category, Key, Kind, Owner
from ledger_svc.statements import rules, store
from ledger_svc.statements.rules import Period
from ledger_svc.tests.statements_oracle import Oracle, Step, replay
from svckit.clock import new_id
from svckit.db import Database
from svckit.errors import Reason, Refused

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=365)
HALF_HOUR = timedelta(minutes=30)
WRITES = ("hold", "void", "redeem", "reverse", "hold", "capture", "void")

# What to do, after how many hours, how much, and after how many half hours it expires. Calls fall on whole hours, and
# reads between them, so that a credit may expire at either.
calls = st.lists(
    st.one_of(
        st.tuples(st.just("credit"), st.integers(0, 3), st.integers(20, 60), st.none() | st.integers(1, 9)),
        st.tuples(st.sampled_from(WRITES), st.integers(0, 3), st.integers(1, 40), st.none()),
    ),
    min_size=8,
    max_size=30,
)


@pytest.fixture
async def db(fresh_database: Any) -> Any:
    return await fresh_database("ledger_svc")


class Told:
    """A member of their own in a shared database: does calls, and remembers what took effect and what was read."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.journal = Journal(db)
        self.key = Key(f"p-{new_id()}", Owner.MEMBER, "m", "PTS")
        self.at = START
        self.steps: list[Step] = []
        self.ids: list[UUID] = []
        self.open_holds: list[int] = []
        self.debits: list[int] = []
        self.read: dict[datetime, store.Standing] = {}
        self.closed: dict[Period, rules.Statement] = {}

    async def join(self) -> None:
        program_id, member_id = self.key.program_id, self.key.owner
        await self.db.transact(lambda tx: journal_store.store_member(tx, program_id, member_id, active=True, version=1))

    async def post(self, posting: Posting) -> Posted | Refused:
        """Posts, through the engine itself."""
        seen: list[Posted] = []

        def reply(posted: Posted) -> Empty:
            seen.append(posted)
            return Empty()

        (result,) = await self.journal.post_many(self.key.program_id, [Item(posting, None, reply)])
        if isinstance(result, Refused):
            return result
        assert result == Empty()
        return seen[-1]

    async def call(self, name: str, hours: int, amount: int, expires: int | None) -> None:
        """Does one call, if there is anything to do it to, and keeps it if it took effect."""
        if hours:
            await self.look(self.at + timedelta(hours=hours) - HALF_HOUR)
        self.at += timedelta(hours=hours)
        oracle = replay(self.steps, self.at)
        step = self.chosen(name, amount, expires, oracle)
        if step is None:
            return
        result = await self.post(self.posting(step))
        if isinstance(result, Refused):
            assert result.reason == Reason.INSUFFICIENT_POINTS
            assert step.amount > oracle.available(self.at)
            return
        assert step.name not in {"redeem", "hold"} or step.amount <= oracle.available(self.at)
        {"redeem": self.debits, "hold": self.open_holds}.get(name, []).append(len(self.steps))
        self.steps.append(step)
        self.ids.append(result.transaction_id)

    def chosen(self, name: str, amount: int, expires: int | None, oracle: Oracle) -> Step | None:
        if name == "credit":
            return Step(name, self.at, amount, None if expires is None else self.at + expires * HALF_HOUR)
        if name in {"redeem", "hold"}:
            return Step(name, self.at, amount)
        if name == "reverse":
            while self.debits and not oracle.drawn[self.debits[-1]]:
                self.debits.pop()
            if not self.debits:
                return None
            left = sum(taken for _, taken in oracle.drawn[self.debits[-1]])
            return Step(name, self.at, min(amount, left), number=self.debits[-1])
        if not self.open_holds:
            return None
        number = self.open_holds.pop(amount % len(self.open_holds))
        return Step(name, self.at, min(amount, oracle.holds[number]), number=number)

    def posting(self, step: Step) -> Posting:
        if step.name == "credit":
            return Credit(self.key, step.at, step.amount, Category.BONUS, expires_at=step.expires_at)
        if step.name == "redeem":
            return Redeem(self.key, step.at, step.amount)
        if step.name == "hold":
            return PlaceHold(self.key, step.at, step.amount)
        if step.name == "reverse":
            return Reverse(self.ids[step.number], step.at, step.amount)
        if step.name == "capture":
            return Capture(self.ids[step.number], step.at, step.amount)
        return Void(self.ids[step.number], step.at)

    async def look(self, now: datetime) -> None:
        """Reads the balance now, and a statement up to now, to be compared with what is read of it later."""
        async with self.db.read() as tx:
            self.read[now] = await store.standing(tx, self.key, now)
            self.closed[Period(START, now)] = await store.statement(tx, self.key, Period(START, now))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(calls=calls, data=st.data())
async def test_what_is_read_later_is_what_was_true(db: Database, calls: Any, data: Any) -> None:
    told = Told(db)
    await told.join()
    for call in calls:
        await told.call(*call)
    await told.look(told.at + HALF_HOUR)
    span = int((told.at - START) / HALF_HOUR)
    instants = [START + HALF_HOUR * (2 * n + 1) for n in data.draw(st.lists(st.integers(-1, span // 2), max_size=12))]
    async with db.read() as tx:
        for at in {*instants, *told.read}:
            await check_instant(tx, told, at)
        bounds = sorted(data.draw(st.tuples(*[st.integers(-2, span + 2)] * 2)))
        await check_period(tx, told, Period(*(START + HALF_HOUR * n for n in bounds)))
        for period, statement in told.closed.items():
            assert sorted_(await store.statement(tx, told.key, period)) == sorted_(statement)
    await check_schedule(told)


async def check_instant(tx: Any, told: Told, at: datetime) -> None:
    """The balance as of an instant is what a read showed then, and what the replay says."""
    oracle = replay(told.steps, at)
    found = await store.standing_as_of(tx, told.key, at)
    assert found == (oracle.available(at) + oracle.held(), oracle.held())
    assert found.available == oracle.available(at)
    assert told.read.get(at, found) == found
    lots = await store.lots_as_of(tx, told.key, at)
    by_expiry: Counter[datetime | None] = Counter()
    for lot in lots:
        by_expiry[lot.expires_at] += 0 if lot.expired(at) else lot.remaining
    assert +by_expiry == oracle.free(at)
    posted = (await store.statement(tx, told.key, Period(START, at + TICK))).closing
    assert posted == sum(lot.remaining for lot in lots) + found.held  # L5


async def check_period(tx: Any, told: Told, period: Period) -> None:
    """A statement sums, and its lines and categories are the sums of the entries that the history shows."""
    found = await store.statement(tx, told.key, period)
    lines, categories = rules.lines(found.movements), rules.categories(found.movements)
    assert found.opening + sum(lines.values()) == found.closing
    assert found.opening + sum(categories.values()) == found.closing
    entries = await store.history(tx, told.key, period, [], 10_000)
    assert entries == sorted(entries, key=lambda entry: entry.recorded_at, reverse=True)
    assert sum(entry.amount for entry in entries) == found.closing - found.opening
    for kind in (Kind.EARN, Kind.EXPIRE, Kind.REVERSE):
        assert lines[rules._LINES[kind]] == sum(entry.amount for entry in entries if entry.kind is kind)
    if entries:
        assert entries[0].balance_after == found.closing


async def check_schedule(told: Told) -> None:
    """The schedule is what posting the expiries at each of its instants posts."""
    now = told.at + HALF_HOUR
    async with told.db.read() as tx:
        schedule = await store.expiry_schedule(tx, told.key, now)
    assert schedule == sorted((x, n) for x, n in replay(told.steps, now).free(now).items() if x is not None)
    for expires_at, _ in schedule:
        # Whatever touches the account posts what has run out first, also a call that is refused.
        assert isinstance(await told.post(Redeem(told.key, expires_at, MAX_AMOUNT)), Refused)
    async with told.db.read() as tx:
        posted: Counter[datetime] = Counter()
        for entry in await store.history(tx, told.key, Period(now, END), [Kind.EXPIRE], 10_000):
            posted[entry.effective_at] -= entry.amount
    assert [(at, points) for at, points in sorted(posted.items()) if at > now] == schedule


def sorted_(statement: rules.Statement) -> tuple[int, list[rules.Movement], int]:
    return statement.opening, sorted(statement.movements), statement.closing
