"""What a batch of postings knows and changes: the rows that were loaded under their locks, in memory. Pure."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple, Protocol, Self
from uuid import UUID

from ledger_svc.journal.account import Account
from ledger_svc.journal.values import Entry, Key, Owner, Use
from svckit.errors import Reason, Refused
from svckit.idempotency import Outcome


class HoldState(IntEnum):
    """A hold reaches exactly one of the last three."""

    ACTIVE = 1
    CAPTURED = 2
    VOIDED = 3
    TIMED_OUT = 4


@dataclass(slots=True)
class Hold:
    """Value set aside. `uses` is what it froze in which lot; only `state` ever changes.

    `partner` is true if a partner placed it: a saga's is not theirs to end.
    """

    hold_id: UUID
    key: Key
    amount: int
    state: HoldState
    placed_at: datetime
    expires_at: datetime | None
    partner: bool
    uses: list[Use] = field(default_factory=list)
    ended_at: datetime | None = None

    def due(self, at: datetime) -> bool:
        """True if the hold has run out at `at`."""
        return self.expires_at is not None and self.expires_at <= at


@dataclass(slots=True)
class Original:
    """A posted transaction that a reversal names: what it drew, less what came back, and how much that was.

    `moved` is the sum of the entries that reversed it, which is less than `reversed` where points had lapsed.
    """

    key: Key
    entry: Entry
    left: list[Use]
    reversed: int
    moved: int = 0


class Event(NamedTuple):
    """Something a member did, as it is kept. `event_id` is the partner's own, or the transaction's id."""

    event_id: str
    transaction_id: UUID
    member_id: str
    type: str
    amount_minor: int | None
    currency: str
    occurred_at: datetime
    received_at: datetime
    points: int


class Told(NamedTuple):
    """A posting that the outbox tells of. `points` is how many it was about, never negative."""

    type: str
    key: Key
    entry: Entry
    points: int


class Wants(NamedTuple):
    """The rows that a posting needs: accounts, named transactions and holds, and events that must be new."""

    accounts: tuple[Key, ...] = ()
    transactions: tuple[UUID, ...] = ()
    holds: tuple[UUID, ...] = ()
    events: tuple[str, ...] = ()


class Posted(NamedTuple):
    """What became of a posting. `expired` is what a reversal or a void gave back too late."""

    transaction_id: UUID
    amount: int
    balance: int
    expired: int = 0

    @classmethod
    def of(cls, account: Account, entry: Entry, amount: int, expired: int = 0) -> Self:
        """What became of an entry."""
        return cls(entry.transaction_id, amount, account.posted, expired)


class Posting(Protocol):
    """Something to be posted. It decides on a book and changes nothing if it refuses."""

    def wants(self) -> Wants:
        """The rows it needs."""

    def decide(self, book: "Book") -> Posted:
        """Posts itself into the book. Raises Refused before any change."""


KeyName = tuple[str, str]


@dataclass(slots=True)
class Book:
    """The state of one batch, all of one program. `keys` are idempotency keys by (operation, key)."""

    program_id: str
    accounts: dict[Key, Account] = field(default_factory=dict)
    members: dict[str, bool] = field(default_factory=dict)
    keys: dict[KeyName, Outcome] = field(default_factory=dict)
    originals: dict[UUID, Original] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)
    new_keys: dict[KeyName, Outcome] = field(default_factory=dict)
    new_holds: list[Hold] = field(default_factory=list)
    ended_holds: list[Hold] = field(default_factory=list)
    new_events: list[Event] = field(default_factory=list)
    reversals: list[tuple[Original, int]] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    def account(self, key: Key, at: datetime) -> Account:
        """The account, with what has run out at `at` posted first."""
        account = self.accounts[key]
        account.sweep(at)
        return account

    def standing(self, key: Key) -> bool:
        """Whether the owner may earn and redeem. Raises MEMBER_NOT_FOUND."""
        standing = self.members.get(key.owner) if key.owner_kind is Owner.MEMBER else True
        if standing is None:
            raise Refused(Reason.MEMBER_NOT_FOUND, "There is no such member.")
        return standing

    def active(self, key: Key, at: datetime) -> Account:
        """As `account`, of a member who may earn and redeem. Raises MEMBER_NOT_FOUND or MEMBER_NOT_ACTIVE."""
        if not self.standing(key):
            raise Refused(Reason.MEMBER_NOT_ACTIVE, "The member's status does not allow this.")
        return self.account(key, at)

    def original(self, transaction_id: UUID) -> Original:
        """A posted transaction. Raises TRANSACTION_NOT_FOUND, also for another program's (G49)."""
        found = self.originals.get(transaction_id)
        if found is None:
            raise Refused(Reason.TRANSACTION_NOT_FOUND, "There is no such transaction.")
        return found

    def hold(self, hold_id: UUID, *, partner: bool) -> Hold:
        """An active hold. Raises TRANSACTION_NOT_FOUND, to a `partner` also for a saga's, and HOLD_NOT_ACTIVE."""
        found = self.holds.get(hold_id)
        if found is None or (partner and not found.partner):
            raise Refused(Reason.TRANSACTION_NOT_FOUND, "There is no such hold.")
        if found.state is not HoldState.ACTIVE:
            raise Refused(Reason.HOLD_NOT_ACTIVE, "The hold has been captured or voided, or has run out.")
        return found

    def end(self, hold: Hold, state: HoldState, at: datetime) -> None:
        """Gives a hold its terminal state (G7)."""
        hold.state, hold.ended_at = state, self.accounts[hold.key].moment(at)
        self.ended_holds.append(hold)

    def tell(self, event_type: str, account: Account, entry: Entry, points: int) -> None:
        """Notes an event for the outbox."""
        self.told.append(Told(event_type, account.key, entry, points))
