"""How the state machine sends a call twice at once, tells the time, and compares accounts with the oracle's."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import count
from typing import Any, Final, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from rewards.identity.v1 import programs_pb2
from rewards.ledger.v1 import directory_pb2, earning_pb2

from ledger_svc.tests.machine_world import OPERATOR, Call, Seen, World, answer
from ledger_svc.tests.oracle import BINDING, Oracle, Outcome, Owner
from ledger_svc.tests.oracle_policy import Policy, end_of

Move = TypeVar("Move", bound=Callable[..., None])
NOBODY: Final = "nobody"
UNKNOWN: Final = "00000000-0000-7000-8000-000000000000"
MS: Final = timedelta(milliseconds=1)
RATES: Final = [("", Fraction(3, 2)), ("purchase", Fraction(1, 3))]
_numbers = count(1)


MOVES: Final[list[st.SearchStrategy[tuple[str, dict[str, Any]]]]] = []


def move(weight: int = 1, **arguments: st.SearchStrategy[Any]) -> Callable[[Move], Move]:
    """Makes a method one of the things that a step may do, so many times as often as others.

    Not a rule of its own, because Hypothesis leaves most rules out of an example, and none may be left out here.
    """

    def keep(method: Move) -> Move:
        for _ in range(weight):
            MOVES.append(st.tuples(st.just(method.__name__), st.fixed_dictionaries(arguments)))
        return method

    return keep


class Way(NamedTuple):
    """How a call is sent twice: to which servers, whether the second is another request, and whether a worker posts
    expiries meanwhile."""

    servers: tuple[int, int]
    other: bool
    sweeping: bool


BOTH: Final = Way((0, 1), other=False, sweeping=False)


class Driver(RuleBasedStateMachine):
    """One program in the world, and its oracle."""

    def __init__(self, world: World, counted: Counter[str]) -> None:
        super().__init__()
        self.world = world
        self.counted = counted
        self.program_id = f"machine-{next(_numbers)}"
        self.keys = count(1)
        self.sent: list[tuple[Call, str]] = []
        self.closed: dict[bytes, Any] = {}
        self.instants: list[datetime] = []
        self.version = 0
        self.sound = False
        self.swept = False
        self.began = False
        self.got = Seen("", {})

    def start(self, zone: str, now: datetime) -> None:
        self.oracle = Oracle(Policy(zone, rates=RATES), now, self.counted)
        self.change_policy()
        for rule_id, (event_type, rate) in enumerate(RATES):
            rule = earning_pb2.EarningRule(
                rule_id=f"r{rule_id}",
                version=1,
                event_type=event_type,
                points_numerator=rate.numerator,
                points_denominator=rate.denominator,
            )
            request = earning_pb2.PutRuleRequest(program_id=self.program_id, rule=rule)
            self.world.run(answer(self.world.servers[0].rpcs["PutRule"](request, metadata=OPERATOR)))
        for member in ("ann", "bob", "cyd"):
            self.tell_member(member, active=True)

    def change_policy(self, **changed: Any) -> None:
        """Changes the program's settings, as identity_svc would tell."""
        policy = self.oracle.policy
        for name, value in changed.items():
            setattr(policy, name, value)
        self.version += 1
        settings = programs_pb2.Program(
            program_id=self.program_id,
            name="Machine",
            mode=programs_pb2.Program.SANDBOX,
            time_zone=policy.zone,
            currency="USD",
            asset="PTS",
            points_per_unit=policy.points_per_unit,
            policy=programs_pb2.Policy(
                expiry=programs_pb2.Policy.Expiry.Value(policy.expiry) if policy.expiry != "NEVER" else 0,  # type: ignore[arg-type]
                expiry_count=policy.count,
                debt=programs_pb2.Policy.WRITE_OFF if policy.write_off else 0,  # type: ignore[arg-type]
                transfer_max_points=policy.transfer_max,
                adjust_alone_max_points=policy.adjust_alone_max,
                more_assets=["STARS"],
            ),
            version=self.version,
        )
        request = programs_pb2.StoreProgramRequest(program=settings)
        self.world.run(answer(self.world.servers[0].rpcs["StoreProgram"](request)))

    def tell_member(self, member: str, *, active: bool, stale: bool = False) -> None:
        """Tells what a member may do; what comes late changes nothing."""
        self.version += 1
        request = directory_pb2.StoreMemberRequest(
            program_id=self.program_id, member_id=member, active=active, version=1 if stale else self.version
        )
        self.world.run(answer(self.world.servers[1].rpcs["StoreMember"](request)))
        if not stale:
            self.oracle.members[member] = active

    # Time.

    def tick(self) -> None:
        self.sound = False
        self.oracle.remember()
        self.oracle.now += MS
        self.world.clock.at = self.oracle.now
        self.instants.append(self.oracle.now)

    def move(self, kind: str, n: int) -> None:
        """Moves time on; to the very instant at which a lot or hold runs out, a month or a year ends."""
        now, today = self.oracle.now, self.oracle.now.astimezone(ZoneInfo(self.oracle.policy.zone)).date()
        ends: list[datetime] = []
        if kind == "lot":
            held = {id(lot) for hold in self.oracle.books.holds.values() if hold.active for lot, _ in hold.drawn}
            lots = [lot for account in self.oracle.books.accounts.values() for lot in account.lots]
            ends = [lot.expires_at for lot in lots if lot.expires_at and (lot.left or id(lot) in held)]
        elif kind == "hold":
            ends = [hold.until for hold in self.oracle.books.holds.values() if hold.until]
        elif kind == "month":
            ends = [
                end_of(today.replace(day=1) - timedelta(days=1) + timedelta(days=31 * i), self.oracle.policy.zone)
                for i in (1, 2)
            ]
        elif kind == "year":
            ends = [end_of(today.replace(month=12, day=31), self.oracle.policy.zone)]
        else:
            ends = [now + timedelta(**{kind: n})]
        if ends := sorted(at for at in ends if at > now + MS):
            # The next call ticks first.
            self.oracle.now = ends[n % min(3, len(ends))] - MS

    def until(self, spec: tuple[str, int] | None) -> tuple[datetime | None, str]:
        """An expiry and how a request says it: nothing, an instant, or a date, which means its end."""
        if spec is None:
            return None, ""
        unit, n = spec
        if unit == "date":
            day = self.oracle.now.astimezone(ZoneInfo(self.oracle.policy.zone)).date() + timedelta(days=n)
            return end_of(day, self.oracle.policy.zone), day.isoformat()
        at = self.oracle.now + timedelta(**{unit: n})
        return at, at.isoformat()

    def hold_until(self, hours: int | None) -> datetime | None:
        """No two holds run out at the same instant, because which of them fills a debt first is nowhere said."""
        odd = timedelta(milliseconds=len(self.oracle.books.holds))
        return None if hours is None else self.oracle.now + timedelta(hours=hours) + odd

    def ago(self, hours: int | None) -> datetime | None:
        return None if hours is None else self.oracle.now - timedelta(hours=hours)

    # What a call is about.

    def neighbour(self, owner: Owner, n: int) -> Owner:
        ring = ("ann", "bob", "cyd", NOBODY)
        return ring[(ring.index(owner[0]) + n) % 3] if n else owner[0], owner[1]

    def transaction(self, which: int, aim: str, kind: str) -> str:
        posted = self.oracle.books.posted
        right = [name for name, one in posted.items() if one.kind == kind]
        return _pick(which, right if aim == "right" else [*posted, *self.oracle.books.holds] if aim == "any" else [])

    def held(self, which: int, aim: str) -> str:
        holds = self.oracle.books.holds
        right = [name for name, one in holds.items() if one.active]
        return _pick(which, right if aim == "right" else [*holds, *self.oracle.books.posted] if aim == "any" else [])

    def adjustment(self, which: int, aim: str) -> str:
        asked = self.oracle.books.adjustments
        pending = [name for name, one in asked.items() if one.status == "PENDING"]
        return _pick(which, pending if aim == "right" else [*asked] if aim == "any" else [])

    # Sending.

    def new_key(self) -> str:
        return f"k{next(self.keys)}"

    def send(self, way: Way, make: Callable[[int], Call]) -> None:
        """Sends `make(0)` under a new key twice at once, or `make(1)` the second time."""
        call, key = make(0), self.new_key()
        self.deliver(way, key, call, make(1) if way.other else call)
        self.sent.append((call, key))

    def deliver(self, way: Way, key: str, *asked: Call) -> None:
        """Sends two calls at once under one key; what came of them is what comes of them in one of the two orders."""
        self.tick()
        seen = self.world.run(self._both(way, key, asked))
        for call, got in sorted(zip(asked, seen, strict=True), key=_place):
            self.counted[call.rpc] += 1
            self.counted[got.reason or "done"] += 1
            self.counted["replayed"] += got.replayed
            self.got = got
            self.agree(self.act(call, key, got), got)

    async def _both(self, way: Way, key: str, asked: tuple[Call, ...]) -> list[Seen]:
        sent = [
            self.world.ask(server, self.program_id, call, key) for server, call in zip(way.servers, asked, strict=True)
        ]
        sweeper = self.world.servers[1 - way.servers[0]].sweeper
        sweeps = [sweeper.expire(self.program_id, self.oracle.now)] if way.sweeping else []
        seen, _ = await asyncio.gather(asyncio.gather(*sent), asyncio.gather(*sweeps))
        return seen

    def act(self, call: Call, key: str, got: Seen) -> Outcome:
        """What the oracle answers to a call of which the ledger made `got`."""
        return self.oracle.once(call.rpc, key, call.body, lambda: call.effect(self.oracle, got.name))

    def agree(self, outcome: Outcome, got: Seen) -> None:
        assert (got.reason, got.replayed) == (outcome.reason, outcome.replayed), f"{got} {outcome}"
        known = outcome.fields or {}
        assert got.fields == {name: known[name] for name in got.fields}

    def send_without_key(self, way: Way, call: Call) -> None:
        """Two calls at once without a key are two calls: the second finds what the first left."""
        self.tick()
        seen = self.world.run(self._both(way, "", (call, call)))
        # Names sort in the order in which they were given.
        for got in sorted(seen, key=lambda got: (bool(got.reason), got.name)):
            self.agree(self.act(call, "", got), got)

    def send_again(self, which: int, other: int, way: Way) -> None:
        """An old key comes back with its request, and with that of another call of the kind."""
        if not self.sent:
            return
        call, key = self.sent[which % len(self.sent)]
        others = [one for one, _ in self.sent if one.rpc == call.rpc]
        self.deliver(way, key, call, others[other % len(others)] if way.other else call)


def _pick(which: int, names: list[str]) -> str:
    return names[which % len(names)] if names else UNKNOWN


def _place(pair: tuple[Call, Seen]) -> int:
    """Where a call stands in the order that its answer tells: without effect, first, replayed, with a key in use."""
    _, got = pair
    if got.reason and got.reason not in BINDING:
        return 3 if got.reason == "IDEMPOTENCY_KEY_REUSED" else 0
    return 2 if got.replayed else 1
