"""Postings that bring value in, take it out or watch it: what each checks and moves.

Pure; a refusal comes before any change.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ledger_svc.journal.alarms import Alarm
from ledger_svc.journal.book import Book, Event, Posted, Posting, Wants
from ledger_svc.journal.values import Category, Draft, Key, Kind
from svckit.clock import new_id
from svckit.errors import Reason, Refused, invalid


@dataclass(frozen=True, slots=True)
class Credit:
    """Value comes in: points outright, or funding (`kind` FUND)."""

    key: Key
    at: datetime
    amount: int
    category: Category
    kind: Kind = Kind.EARN
    expires_at: datetime | None = None
    reason: str = ""

    def wants(self) -> Wants:
        """The account."""
        return Wants((self.key,))

    def decide(self, book: Book) -> Posted:
        """Adds a lot. Raises MEMBER_NOT_FOUND, MEMBER_NOT_ACTIVE, AMOUNT_OUT_OF_RANGE."""
        account = book.active(self.key, self.at)
        draft = Draft(new_id(), self.kind, self.category, self.at, reason=self.reason)
        entry = account.credit(draft, self.amount, self.expires_at)
        if self.kind is Kind.EARN:
            book.tell("points.earned", account, entry, self.amount)
        book.watch(account, self.at)
        return Posted.of(account, entry, self.amount)


@dataclass(frozen=True, slots=True)
class Earn:
    """An event and what it earned, which may be nothing (G43)."""

    key: Key
    at: datetime
    event: Event
    expires_at: datetime | None = None

    def wants(self) -> Wants:
        """The account, and that the event is new."""
        return Wants((self.key,), events=(self.event.event_id,))

    def decide(self, book: Book) -> Posted:
        """Keeps the event and adds a lot. Raises as Credit does, and CONFLICT for an event that is known."""
        account = book.active(self.key, self.at)
        event = self.event
        if event.event_id in book.events:
            raise Refused(Reason.CONFLICT, "An event with this eventId was recorded before.")
        if event.points:
            draft = Draft(event.transaction_id, Kind.EARN, Category.SPEND, self.at, effective_at=event.occurred_at)
            entry = account.credit(draft, event.points, self.expires_at)
            book.tell("points.earned", account, entry, event.points)
        book.events.add(event.event_id)
        book.new_events.append(event)
        return Posted(event.transaction_id, event.points, account.posted)


@dataclass(frozen=True, slots=True)
class Redeem:
    """Points go out, all of them or none (G15)."""

    key: Key
    at: datetime
    amount: int
    reason: str = ""

    def wants(self) -> Wants:
        """The account."""
        return Wants((self.key,))

    def decide(self, book: Book) -> Posted:
        """Draws from the lots. Raises MEMBER_NOT_FOUND, MEMBER_NOT_ACTIVE, INSUFFICIENT_POINTS."""
        account = book.active(self.key, self.at)
        entry = account.debit(Draft(new_id(), Kind.REDEEM, Category.REDEEM, self.at, reason=self.reason), self.amount)
        book.tell("points.redeemed", account, entry, self.amount)
        return Posted.of(account, entry, self.amount)


@dataclass(frozen=True, slots=True)
class Transfer:
    """Points go from one member to another and keep their expiry (G18)."""

    source: Key
    target: Key
    at: datetime
    amount: int
    reason: str = ""

    def wants(self) -> Wants:
        """Both accounts."""
        return Wants((self.source, self.target))

    def decide(self, book: Book) -> Posted:
        """Moves lots. Raises as Redeem does, for both members, and AMOUNT_OUT_OF_RANGE."""
        source, target = book.active(self.source, self.at), book.active(self.target, self.at)
        if source is target:
            raise invalid(toMemberId="is the same member")
        target.check_room(self.amount)
        draft = Draft(new_id(), Kind.TRANSFER, Category.PARTNER, self.at, reason=self.reason)
        entry, parts = source.give(draft, self.amount)
        received = target.receive(draft, parts)
        book.tell_moved((source, entry), (target, received))
        return Posted.of(source, entry, self.amount)


@dataclass(frozen=True, slots=True)
class Adjust:
    """A correction by a person, up or down, never by more than is available (G19). Its entry has `transaction_id`."""

    key: Key
    at: datetime
    transaction_id: UUID
    amount: int
    reason: str
    effective_at: datetime | None = None
    expires_at: datetime | None = None

    def wants(self) -> Wants:
        """The account."""
        return Wants((self.key,))

    def decide(self, book: Book) -> Posted:
        """Posts, whatever the member's status. Raises MEMBER_NOT_FOUND, INSUFFICIENT_POINTS, AMOUNT_OUT_OF_RANGE."""
        book.standing(self.key)
        account = book.account(book.counting(self.key), self.at)
        draft = Draft(self.transaction_id, Kind.ADJUST, Category.ADJUST, self.at, self.effective_at, reason=self.reason)
        if self.amount > 0:
            entry = account.credit(draft, self.amount, self.expires_at)
        else:
            entry = account.debit(draft, -self.amount)
        book.tell("points.adjusted", account, entry, abs(self.amount))
        # What was added may have run out while it waited for its approval.
        account.sweep(self.at)
        return Posted.of(account, entry, self.amount)


@dataclass(frozen=True, slots=True)
class Expire:
    """Posts what has run out on an account. Nothing to post is success with 0 (G3)."""

    key: Key
    at: datetime

    def wants(self) -> Wants:
        """The account."""
        return Wants((self.key,))

    def decide(self, book: Book) -> Posted:
        """Sweeps; once a lot, whoever asks and however often. Raises MEMBER_NOT_FOUND."""
        book.standing(self.key)
        account = book.accounts[book.counting(self.key)]
        before = account.posted
        account.sweep(self.at)
        return Posted(new_id(), before - account.posted, account.posted)


@dataclass(frozen=True, slots=True)
class SetAlarm:
    """Says below how many minor units available the funding is low."""

    key: Key
    at: datetime
    threshold: int

    def wants(self) -> Wants:
        """The account."""
        return Wants((self.key,))

    def decide(self, book: Book) -> Posted:
        """Moves nothing. What is low already by the new threshold is told of at once."""
        account = book.account(self.key, self.at)
        book.alarms.setdefault(self.key, Alarm()).set(self.threshold)
        book.watch(account, self.at)
        return Posted(new_id(), 0, account.posted)


@dataclass(frozen=True, slots=True)
class Refuse:
    """A call that is refused before it reaches an account, but after its key was looked up (G58)."""

    refusal: Refused

    def wants(self) -> Wants:
        """Nothing."""
        return Wants()

    def decide(self, book: Book) -> Posted:
        """Raises the refusal."""
        raise self.refusal


def or_refusal(make: Callable[[], Posting]) -> Posting:
    """The posting, or a Refuse of what `make` refused: a retry gets its first answer, whatever has changed since."""
    try:
        return make()
    except Refused as refusal:
        return Refuse(refusal)
