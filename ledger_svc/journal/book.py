"""What a batch of postings knows and changes: the rows that were loaded under their locks, in memory. Pure."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Final, NamedTuple, Protocol, Self
from uuid import UUID

from ledger_svc.journal.account import Account
from ledger_svc.journal.alarms import Alarm
from ledger_svc.journal.values import Category, Draft, Entry, Key, Kind, Owner, Use
from svckit.clock import new_id
from svckit.errors import Reason, Refused
from svckit.idempotency import Outcome

# The reason of the transfers that a merge makes; their category tells them apart from the members' own.
MERGE: Final = "merge"


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


class Fallen(NamedTuple):
    """Funding that has come to be low, which the outbox tells of. Amounts are minor units."""

    key: Key
    at: datetime
    available: int
    threshold: int


class Wants(NamedTuple):
    """The rows that a posting needs: accounts, named transactions and holds, and events that must be new.

    `accounts` are of whom the member's id stands for; `own` are the ids' own, aliases' as well, and `lots` of theirs.
    """

    accounts: tuple[Key, ...] = ()
    transactions: tuple[UUID, ...] = ()
    holds: tuple[UUID, ...] = ()
    events: tuple[str, ...] = ()
    own: tuple[Key, ...] = ()
    lots: tuple[UUID, ...] = ()


class Posted(NamedTuple):
    """What became of a posting. `expired` is what a reversal or a void gave back too late, `rest` the hold of what a
    capture left, `recorded_at` the instant of its entry where it has one."""

    transaction_id: UUID
    amount: int
    balance: int
    expired: int = 0
    rest: UUID | None = None
    recorded_at: datetime | None = None

    @classmethod
    def of(cls, account: Account, entry: Entry, amount: int, expired: int = 0, rest: UUID | None = None) -> Self:
        """What became of an entry."""
        return cls(entry.transaction_id, amount, account.posted, expired, rest, entry.recorded_at)


class Posting(Protocol):
    """Something to be posted. It decides on a book and changes nothing if it refuses."""

    def wants(self) -> Wants:
        """The rows it needs."""

    def decide(self, book: "Book") -> Posted:
        """Posts itself into the book. Raises Refused before any change."""


KeyName = tuple[str, str]


@dataclass(slots=True)
class Book:
    """The state of one batch, all of one program. `keys` are idempotency keys by (operation, key); `aliases` are
    merged members, each with the one that counts for it now."""

    program_id: str
    accounts: dict[Key, Account] = field(default_factory=dict)
    members: dict[str, bool] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
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
    alarms: dict[Key, Alarm] = field(default_factory=dict)
    fallen: list[Fallen] = field(default_factory=list)

    def account(self, key: Key, at: datetime) -> Account:
        """The account, with what has run out at `at` posted first."""
        account = self.accounts[key]
        account.sweep(at)
        return account

    def standing(self, key: Key) -> bool:
        """Whether the owner may earn and redeem. Raises MEMBER_NOT_FOUND."""
        standing = self.members.get(self.counting(key).owner) if key.owner_kind is Owner.MEMBER else True
        if standing is None:
            raise Refused(Reason.MEMBER_NOT_FOUND, "There is no such member.")
        return standing

    def active(self, key: Key, at: datetime) -> Account:
        """As `account`, of the member who counts for the key's and may earn and redeem. Raises MEMBER_NOT_FOUND or
        MEMBER_NOT_ACTIVE."""
        if not self.standing(key):
            raise Refused(Reason.MEMBER_NOT_ACTIVE, "The member's status does not allow this.")
        return self.account(self.counting(key), at)

    def counting(self, key: Key) -> Key:
        """The account that counts where `key` is named: the survivor's for a merged member's, else the same."""
        survivor = self.aliases.get(key.owner) if key.owner_kind is Owner.MEMBER else None
        return key if survivor is None else key._replace(owner=survivor)

    def forward(self, account: Account, at: datetime) -> Account:
        """Hands on what is free on a merged member's account, each lot with its expiry, or what is owed there.

        Gives the account that counts. Nothing to hand on is no posting. Whatever moves such an account ends here, so
        between two batches it has nothing but what its holds have set aside (G44).
        """
        key = self.counting(account.key)
        if key == account.key:
            return account
        survivor = self.account(key, at)
        account.sweep(at)
        free = account.posted - account.held
        draft = Draft(new_id(), Kind.TRANSFER, Category.ADJUST, at, reason=MERGE)
        if free > 0:
            given, parts = account.give(draft, free)
            taken = survivor.receive(draft, parts)
        elif free < 0:
            taken = survivor.claw_back(draft, draft.transaction_id, -free)
            given = account.credit(draft, -free)
        if free:
            self.tell_moved((account, given), (survivor, taken))
        return survivor

    def tell_moved(self, *sides: tuple[Account, Entry]) -> None:
        """Notes both sides of a transfer for the outbox."""
        for account, entry in sides:
            event_type = "points.transferred" if entry.amount < 0 else "points.received"
            self.tell(event_type, account, entry, abs(entry.amount))

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

    def place(self, hold: Hold) -> None:
        """Adds a hold."""
        self.holds[hold.hold_id] = hold
        self.new_holds.append(hold)

    def end(self, hold: Hold, state: HoldState, at: datetime) -> None:
        """Gives a hold its terminal state (G7)."""
        hold.state, hold.ended_at = state, self.accounts[hold.key].moment(at)
        self.ended_holds.append(hold)

    def watch(self, account: Account, at: datetime) -> None:
        """Notes it for the outbox if what a posting left available of a program's funding is low by now."""
        alarm, available = self.alarms.get(account.key), account.posted - account.held
        if alarm is not None and alarm.look(available):
            self.fallen.append(Fallen(account.key, account.moment(at), available, alarm.threshold))

    def tell(self, event_type: str, account: Account, entry: Entry, points: int) -> None:
        """Notes an event for the outbox."""
        self.told.append(Told(event_type, account.key, entry, points))
