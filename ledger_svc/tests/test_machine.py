"""A state machine drives two ledgers on one PostgreSQL, and an oracle in plain Python says what must come of it.

Every operation is sent twice at once under one key, mostly to both servers, sometimes with another request the second
time. Old keys come back at random. Time moves over expiries, ends of months and days of 23 and 25 hours. After every
step each account and lot is what the oracle has; at the end the auditor looks at everything.
"""

import os
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from devmesh.pki import Authority
from ledger_svc.journal import load_store
from ledger_svc.tests import machine_calls as calls
from ledger_svc.tests.machine_driver import BOTH, MOVES, NOBODY, Way, move
from ledger_svc.tests.machine_reads import WAYS, Reads
from ledger_svc.tests.machine_world import Call, World, opened
from ledger_svc.tests.oracle import FUNDING, MAX, Owner

# `make torture` runs 50,000 steps in 25 seeds, `make check` the first of them.
SEEDS = range(25 if os.environ.get("REWARDS_TORTURE") else 1)
EXAMPLES, STEPS = 50, 50
STEPS_MIN = 2_000
# What no run may miss.
OFTEN = {
    *("CreateCredit", "InsertTransactionData", "RedeemPoints", "ReversalPoints", "ReverseTransaction"),
    *("PlaceHold", "CreateHold", "CaptureHold", "CapturePointsHold", "VoidHold", "VoidPointsHold", "CreateDeposit"),
    *("CreateTransfer", "CreateAdjustment", "ApproveAdjustment", "item done", "replayed", "IDEMPOTENCY_KEY_REUSED"),
    *("came back too late", "held on"),
}
PHASES = (Phase.generate, Phase.shrink)

MEMBERS = st.sampled_from(("ann", "ann", "bob", "cyd") * 6 + (NOBODY,))
OWNERS = st.tuples(MEMBERS, st.sampled_from(("PTS",) * 20 + ("STARS",) * 4 + ("GEMS",)))
POINTS = st.integers(1, 60) | st.integers(1, 150)
TAKEN = st.integers(1, 80)
PART = st.integers(0, 30).map(lambda n: n or None) | TAKEN
WHICH = st.integers(0, 30)
AIM = st.sampled_from(("right",) * 10 + ("any", "none"))
UNTIL = st.none() | st.tuples(st.sampled_from(("hours", "days", "date")), st.integers(0, 40))


POLICIES = st.fixed_dictionaries(
    {
        "expiry": st.sampled_from(("NEVER", "DAYS", "MONTHS", "END_OF_MONTH", "END_OF_YEAR")),
        "count": st.integers(0, 3),
        "write_off": st.sampled_from((False, False, True)),
        "transfer_max": st.sampled_from((0, 50, 400, 400)),
        "adjust_alone_max": st.sampled_from((0, 50, 400, 400)),
    }
)


class Machine(Reads):
    """The rules that write. What it takes to send a call stands in Driver, the rules that read in Reads."""

    @initialize(
        zone=st.sampled_from(("Europe/Berlin", "America/New_York", "America/Santiago", "Asia/Kathmandu")),
        day=st.sampled_from(((2026, 1, 30), (2026, 3, 28), (2026, 10, 24), (2027, 12, 31), (2028, 2, 28))),
        hour=st.integers(0, 23),
        policy=POLICIES,
    )
    def begin(self, zone: str, day: tuple[int, int, int], hour: int, policy: dict[str, Any]) -> None:
        self.start(zone, datetime(*day, hour, tzinfo=UTC))
        self.change_policy(**policy)
        # Something to begin with: some of it for ever, some for ten days, and some until the day ends.
        lots = [(60, None), (40, ("days", 10)), (30, ("date", 0))]
        given = [(member, points, self.until(until)) for member in ("ann", "bob", "cyd") for points, until in lots]
        self.send_batch(
            BOTH, "CONTINUE", [(calls.credit((member, "PTS"), n, "BONUS", *until), 9) for member, n, until in given]
        )
        self.send(BOTH, lambda _: calls.deposit(500, "USD"))

    @move(changed=POLICIES)
    def policy(self, changed: dict[str, Any]) -> None:
        self.change_policy(**changed)

    @move(
        member=st.sampled_from(("ann", "bob", "cyd")), active=st.booleans(), stale=st.sampled_from((False, False, True))
    )
    def member(self, member: str, *, active: bool, stale: bool) -> None:
        self.tell_member(member, active=active, stale=stale)

    @move(
        weight=10,
        kind=st.sampled_from(("hours",) * 4 + ("lot",) * 6 + ("hold",) * 3 + ("days", "month", "year")),
        n=st.integers(1, 6),
    )
    def wait(self, kind: str, n: int) -> None:
        self.move(kind, n)
        if n % 2:
            self.look(("ann", "PTS"), 1)

    @move(
        weight=7,
        owner=OWNERS,
        points=POINTS,
        category=st.sampled_from(("BONUS", "PARTNER", "PURCHASED")),
        until=UNTIL,
        way=WAYS,
    )
    def credit(self, owner: Owner, points: int, category: str, until: Any, way: Way) -> None:
        at, text = self.until(until)
        self.send(way, lambda n: calls.credit(owner, points + n, category, at, text))

    @move(owner=OWNERS, over=st.booleans(), way=WAYS)
    def credit_up_to_the_limit(self, owner: Owner, way: Way, *, over: bool) -> None:
        points = MAX - self.oracle.account(owner).balance(self.oracle.now) + 1
        if over and points <= MAX:
            self.send(way._replace(other=False), lambda _: calls.credit(owner, points, "BONUS", None, ""))

    @move(
        weight=3,
        owner=OWNERS,
        cents=st.none() | st.integers(0, 9_999),
        what=st.tuples(
            st.sampled_from(("purchase", "visit")),
            st.sampled_from(("", "e1", "e2", "e3")),
            st.sampled_from(("", "", "EUR")),
        ),
        hours_ago=st.none() | st.integers(0, 900),
        way=WAYS,
    )
    def event(
        self, owner: Owner, cents: int | None, what: tuple[str, str, str], hours_ago: int | None, way: Way
    ) -> None:
        at = self.ago(hours_ago)
        self.send(way, lambda n: calls.event(self.neighbour(owner, n), cents, what, at))

    @move(
        weight=10,
        owner=OWNERS,
        points=TAKEN | st.none(),
        worth=st.sampled_from(("none",) * 6 + ("right", "wrong")),
        way=WAYS,
    )
    def redeem(self, owner: Owner, points: int | None, worth: str, way: Way) -> None:
        taken = points or self.oracle.account(owner).available(self.oracle.now) or 1
        right = taken * 100 // self.oracle.policy.points_per_unit
        worth_minor = {"none": None, "right": right, "wrong": right + 1}[worth]
        self.send(way, lambda n: calls.redeem(self.neighbour(owner, n), taken, worth_minor))

    @move(weight=6, which=WHICH, aim=AIM, points=PART, keyless=st.sampled_from((False, False, True)), way=WAYS)
    def reverse(self, which: int, aim: str, points: int | None, way: Way, *, keyless: bool) -> None:
        name = self.transaction(which, aim, "REDEEM")
        if keyless:
            self.send_without_key(way, calls.reverse(name, points))
        else:
            self.send(way, lambda n: calls.reverse(name, (points or 0) + n or None))

    @move(weight=6, which=WHICH, aim=AIM, points=st.none() | PART, way=WAYS)
    def claw_back(self, which: int, aim: str, points: int | None, way: Way) -> None:
        name = self.transaction(which, aim, "EARN")
        self.send(way, lambda n: calls.claw_back(name, (points or 0) + n or None))

    @move(
        weight=4, giver=MEMBERS, taker=MEMBERS, asset=st.sampled_from(("PTS", "PTS", "STARS")), points=TAKEN, way=WAYS
    )
    def transfer(self, giver: str, taker: str, asset: str, points: int, way: Way) -> None:
        self.send(way, lambda n: calls.transfer(giver, taker, asset, points + n))

    @move(
        weight=9,
        owner=OWNERS | st.just((FUNDING, "USD")),
        points=TAKEN,
        hours=st.none() | st.integers(1, 90),
        saga=st.booleans(),
        way=WAYS,
    )
    def hold(self, owner: Owner, points: int, hours: int | None, way: Way, *, saga: bool) -> None:
        until = self.hold_until(hours)
        self.send(way, lambda n: calls.hold(self.program_id, owner, points + n, until, saga=saga))

    @move(weight=8, which=WHICH, aim=AIM, points=PART, by=st.sampled_from(calls.CAPTURERS), way=WAYS)
    def capture(self, which: int, aim: str, points: int | None, by: str, way: Way) -> None:
        name = self.held(which, aim)
        self.send(way, lambda n: calls.capture(self.program_id, name, (points or 0) + n or None, by))

    @move(weight=4, which=WHICH, aim=AIM, saga=st.booleans(), way=WAYS)
    def void(self, which: int, aim: str, way: Way, *, saga: bool) -> None:
        name, other = self.held(which, aim), self.held(which + 1, "any")
        self.send(way, lambda n: calls.void(self.program_id, other if n else name, saga=saga))

    @move(weight=1, cents=st.integers(1, 50_000), currency=st.sampled_from(("", "USD")), way=WAYS)
    def deposit(self, cents: int, currency: str, way: Way) -> None:
        self.send(way, lambda n: calls.deposit(cents + n, currency))

    @move(
        weight=5,
        mode=st.sampled_from(("CONTINUE", "STOP_ON_ERROR", "ATOMIC")),
        items=st.lists(
            st.tuples(
                st.sampled_from(("credit", "redeem", "reverse", "event", "old")),
                OWNERS,
                POINTS,
                WHICH,
                st.integers(0, 5),
            ),
            min_size=1,
            max_size=9,
        ),
        way=WAYS,
    )
    def batch(self, mode: str, items: list[tuple[str, Owner, int, int, int]], way: Way) -> None:
        self.send_batch(way, mode, [(self.item(*item[:4]), item[4]) for item in items])

    def item(self, kind: str, owner: Owner, points: int, which: int) -> Call | None:
        """What one item of a batch says; None is a call that was made before, under its own key."""
        owner = (owner[0], "PTS" if owner[1] == "GEMS" else owner[1])
        if kind == "credit":
            return calls.credit(owner, points, "BONUS", None, "")
        if kind == "redeem":
            return calls.redeem(owner, points, which if which > 25 else None)
        if kind == "reverse":
            return calls.reverse(self.transaction(which, "any" if which > 25 else "right", "REDEEM"), points)
        if kind == "event":
            return calls.event(owner, points * 10, ("visit", f"e{which}", ""), None)
        return None

    @move(
        weight=4,
        owner=OWNERS,
        points=POINTS,
        up=st.booleans(),
        until=UNTIL,
        days_ago=st.none() | st.integers(-1, 50),
        way=WAYS,
    )
    def adjust(self, owner: Owner, points: int, until: Any, days_ago: int | None, way: Way, *, up: bool) -> None:
        since = self.ago(None if days_ago is None else days_ago * 24)
        signed = points if up else -points
        self.send(way, lambda n: calls.adjust(self.neighbour(owner, n), signed, since, self.until(until)))

    @move(
        weight=3,
        which=WHICH,
        aim=AIM,
        approve=st.sampled_from((True, True, False)),
        credential=st.sampled_from(("one", "two", "two")),
        way=WAYS,
    )
    def decide(self, which: int, aim: str, credential: str, way: Way, *, approve: bool) -> None:
        name = self.adjustment(which, aim)
        self.send(
            way, lambda n: calls.decide(self.adjustment(which + n, "any") if n else name, credential, approve=approve)
        )

    @move(weight=5, which=st.integers(0, 200), other=st.integers(0, 200), way=WAYS)
    def again(self, which: int, other: int, way: Way) -> None:
        self.send_again(which, other, way)

    @rule(chosen=st.one_of(MOVES))
    def step(self, chosen: tuple[str, dict[str, Any]]) -> None:
        name, arguments = chosen
        getattr(self, name)(**arguments)


@pytest.fixture
async def world(fresh_url: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    # So that an account of four lots is a long one, which is loaded again with all of them.
    monkeypatch.setattr(load_store, "LOTS_MAX", 3)
    async with opened(await fresh_url("ledger_svc"), authority) as made:
        yield made


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", SEEDS)
def test_the_ledger_does_what_the_oracle_says(world: World, number: int) -> None:
    counted: Counter[str] = Counter()

    class Bound(Machine):
        def __init__(self) -> None:
            super().__init__(world, counted)

    run_state_machine_as_test(
        seed(number)(Bound),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            phases=PHASES,
        ),
    )
    assert counted["steps"] >= STEPS_MIN
    assert {one for one in OFTEN if not counted[one]} == set()
