"""The ledger in plain Python: lists of lots, holds, keys and a journal, and each operation as domain-rules.md has it.

It shares no code with the ledger, and no idea either: it never posts an expiry, because points whose time has come
simply do not count (G3); it keeps no balance, because a balance is what the lots add up to; and what was true at an
instant it has written down when it was true. Names of what happened (transactions and holds) are the ledger's choice,
so each operation is told the name that the ledger's answer gave.
"""

import copy
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple

from ledger_svc.tests.oracle_policy import Policy

MAX = 2**53
BINDING = {
    "MEMBER_NOT_ACTIVE",
    "INSUFFICIENT_POINTS",
    "INSUFFICIENT_FUNDS",
    "DUPLICATE_REVERSAL",
    "TRANSACTION_NOT_FOUND",
    "HOLD_NOT_ACTIVE",
    "REVERSAL_EXCEEDS",
    "AMOUNT_OUT_OF_RANGE",
    "AMOUNT_MISMATCH",
    "WRONG_TRANSACTION_KIND",
}
FUNDING = "(funding)"
Owner = tuple[str, str]
Fields = dict[str, Any]


class No(Exception):  # noqa: N818 - an answer
    """The operation is refused."""


class Outcome(NamedTuple):
    """What an operation is answered: the reason of a refusal, or fields."""

    reason: str = ""
    fields: Fields | None = None
    replayed: bool = False


@dataclass(eq=False)
class Lot:
    """Points that came in together, by the transaction `name`, or from another member. `left` includes what ran out.
    Until a lot is `settled`, `earned_at` is the call's instant: the ledger chooses one a little after it, so that no
    two entries of an account share it."""

    number: int
    earned_at: datetime
    expires_at: datetime | None
    original: int
    left: int
    name: str = ""
    settled: bool = False

    def live(self, at: datetime) -> bool:
        return self.expires_at is None or at < self.expires_at

    def place(self) -> tuple[Any, ...]:
        """The order of burning (G2)."""
        return (self.expires_at is None, self.expires_at or self.earned_at, self.earned_at, self.number)


Drawn = list[tuple[Lot, int]]


class View(NamedTuple):
    """An account as it was: its lots with points in burn order, what was held, and its debt."""

    lots: list[tuple[datetime | None, int]]
    held: int
    debt: int

    def free(self, at: datetime) -> list[tuple[datetime | None, int]]:
        return [(until, left) for until, left in self.lots if until is None or at < until]

    def balance(self, at: datetime) -> int:
        return sum(left for _, left in self.free(at)) + self.held - self.debt

    def standing(self, at: datetime) -> tuple[int, int, int]:
        """Balance, available, held."""
        balance = self.balance(at)
        return balance, max(0, balance - self.held), self.held


@dataclass(eq=False)
class Account:
    """`debt` is what was taken back after it was spent; while there is any, no lot has points (G11)."""

    lots: list[Lot] = field(default_factory=list)
    held: int = 0
    debt: int = 0

    def view(self) -> View:
        return View([(x.expires_at, x.left) for x in sorted(self.lots, key=Lot.place) if x.left], self.held, self.debt)

    def balance(self, at: datetime) -> int:
        return sum(lot.left for lot in self.lots if lot.live(at)) + self.held - self.debt

    def available(self, at: datetime) -> int:
        return max(0, self.balance(at) - self.held)

    def check_room(self, at: datetime, amount: int) -> None:
        if abs(self.balance(at) + amount) > MAX:
            raise No("AMOUNT_OUT_OF_RANGE")

    def check_enough(self, at: datetime, amount: int, reason: str) -> None:
        if amount > self.available(at):
            raise No(reason)

    def draw(self, at: datetime, amount: int, first: Lot | None = None) -> Drawn:
        """Takes up to `amount` in the order of burning, from `first` before the others (G2)."""
        drawn: Drawn = []
        for lot in sorted(self.lots, key=lambda lot: (lot is not first, lot.place())):
            taken = min(amount, lot.left) if lot.live(at) else 0
            if taken:
                lot.left -= taken
                amount -= taken
                drawn.append((lot, taken))
        return drawn

    def give_back(self, at: datetime, drawn: Drawn) -> int:
        """Returns points to the lots they came from, of which a debt takes the first; how many expired at once (G8)."""
        expired = 0
        for lot, amount in drawn:
            filled = min(self.debt, amount)
            self.debt -= filled
            lot.left += amount - filled
            expired += 0 if lot.live(at) else amount - filled
        return expired

    def fill(self, amount: int) -> int:
        """What is left of points that come in after the debt took its part."""
        filled = min(self.debt, amount)
        self.debt -= filled
        return amount - filled


@dataclass(eq=False)
class Posted:
    """A transaction: what it drew and not yet gave back, in the order of drawing, and how much of it was reversed."""

    kind: str
    category: str
    owner: Owner
    amount: int
    drawn: Drawn
    lot: Lot | None = None
    undone: int = 0
    taken_back: int = 0


@dataclass(eq=False)
class Hold:
    owner: Owner
    amount: int
    until: datetime | None
    drawn: Drawn
    partner: bool = False
    active: bool = True

    def due(self, at: datetime) -> bool:
        return self.until is not None and self.until <= at


@dataclass(eq=False)
class Adjustment:
    owner: Owner
    points: int
    since: datetime | None
    until: datetime | None
    status: str = "PENDING"


class Entry(NamedTuple):
    """A line of an account's history, as far as it isn't the posting of an expiry."""

    name: str
    kind: str
    category: str
    amount: int
    at: datetime
    occurred_at: datetime | None


@dataclass
class Books:
    """Everything that an operation may change."""

    accounts: dict[Owner, Account] = field(default_factory=dict)
    posted: dict[str, Posted] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    adjustments: dict[str, Adjustment] = field(default_factory=dict)
    journal: dict[Owner, list[Entry]] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)
    keys: dict[tuple[str, str], tuple[bytes, Outcome]] = field(default_factory=dict)


class Oracle:
    """A program's ledger. `now` is set by whoever asks; the operations stand in oracle_operations, and count in `noted`
    what doesn't happen every day."""

    def __init__(self, policy: Policy, now: datetime, noted: Counter[str]) -> None:
        self.policy = policy
        self.now = now
        self.noted = noted
        self.members: dict[str, bool] = {}
        self.books = Books()
        self.memory: dict[Owner, list[tuple[datetime, View]]] = {}
        self._numbers = count()

    def once(self, operation: str, key: str, body: bytes, act: Callable[[], Fields]) -> Outcome:
        """Does something under a key, or says what was said when it was done (G57, G58). No key is no memory."""
        kept = self.books.keys.get((operation, key)) if key else None
        if kept is not None:
            return kept[1]._replace(replayed=True) if kept[0] == body else Outcome("IDEMPOTENCY_KEY_REUSED")
        try:
            outcome = Outcome(fields=act())
        except No as no:
            outcome = Outcome(str(no))
        if key and (not outcome.reason or outcome.reason in BINDING):
            self.books.keys[operation, key] = (body, outcome)
        return outcome

    def batch(self, mode: str, items: list[Callable[[], Outcome]]) -> list[Outcome | None]:
        """Does many; None is one that was skipped (G60, G61)."""
        before = copy.deepcopy(self.books) if mode == "ATOMIC" else None
        outcomes: list[Outcome | None] = []
        for item in items:
            stopped = mode == "STOP_ON_ERROR" and any(outcome is None or outcome.reason for outcome in outcomes)
            outcomes.append(None if stopped else item())
        if before is None or not any(outcome and outcome.reason for outcome in outcomes):
            return outcomes
        self.books = before
        return [outcome if outcome and outcome.reason else None for outcome in outcomes]

    def account(self, owner: Owner) -> Account:
        return self.books.accounts.setdefault(owner, Account())

    def lot(self, owner: Owner, amount: int, left: int, expires_at: datetime | None, earned_at: datetime) -> Lot:
        lot = Lot(next(self._numbers), earned_at, expires_at, amount, left)
        self.account(owner).lots.append(lot)
        return lot

    def post(self, name: str, posted: Posted, occurred_at: datetime | None = None) -> None:
        """Writes a transaction down; a transfer has one name on two accounts."""
        assert name, "the ledger refused what it should have done"
        assert posted.kind == "TRANSFER" or name not in self.books.posted, "two effects have one name"
        self.books.posted[name] = posted
        entry = Entry(name, posted.kind, posted.category, posted.amount, self.now, occurred_at)
        self.books.journal.setdefault(posted.owner, []).append(entry)

    def remember(self) -> None:
        """Writes down what is true now."""
        for owner, account in self.books.accounts.items():
            seen, view = self.memory.setdefault(owner, []), account.view()
            if not seen or seen[-1][1] != view:
                seen.append((self.now, view))

    def view_as_of(self, owner: Owner, at: datetime) -> View:
        """The account as it was: what was written down at or before the instant."""
        seen = self.memory.get(owner, [])
        place = bisect_right(seen, at, key=lambda one: one[0])
        return seen[place - 1][1] if place else View([], 0, 0)

    def lapsed(self, owner: Owner, at: datetime) -> dict[datetime, int]:
        """What has run out by an instant that isn't before the last operation, by when it did."""
        found: dict[datetime, int] = {}
        for lot in self.account(owner).lots:
            if lot.expires_at is not None and lot.left and not lot.live(at):
                found[lot.expires_at] = found.get(lot.expires_at, 0) + lot.left
        return found

    def schedule(self, owner: Owner) -> list[tuple[datetime, int]]:
        """What runs out when, from now on."""
        found: dict[datetime, int] = {}
        for lot in self.account(owner).lots:
            if lot.expires_at is not None and lot.left and lot.live(self.now):
                found[lot.expires_at] = found.get(lot.expires_at, 0) + lot.left
        return sorted(found.items())
