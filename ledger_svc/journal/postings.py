"""The postings: what each kind checks and moves. Pure; a refusal is raised before anything changes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from rewards.errors.v1.errors_pb2 import Shortfall

from ledger_svc.journal import rules
from ledger_svc.journal.account import Account
from ledger_svc.journal.book import Book, Event, Hold, HoldState, Posted, Posting, Wants
from ledger_svc.journal.values import Category, Draft, Entry, Key, Kind
from svckit.clock import new_id
from svckit.errors import Reason, Refused


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
        return _posted(account, entry, self.amount)


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
        return _posted(account, entry, self.amount)


@dataclass(frozen=True, slots=True)
class Reverse:
    """Gives back what a redemption took; all that is left if `amount` is None (G8 to G10)."""

    transaction_id: UUID
    at: datetime
    amount: int | None = None

    def wants(self) -> Wants:
        """The transaction; its account comes with it."""
        return Wants(transactions=(self.transaction_id,))

    def decide(self, book: Book) -> Posted:
        """Restores lots. Raises TRANSACTION_NOT_FOUND and what `rules.reversal_amount` does."""
        original = book.original(self.transaction_id)
        amount = rules.reversal_amount(original.entry, original.reversed, self.amount)
        account = book.account(original.key, self.at)
        draft = Draft(new_id(), Kind.REVERSE, Category.REDEEM, self.at, reverses=self.transaction_id)
        entry, expired = account.reverse(draft, original.left, amount)
        original.left = rules.after_reversal(original.left, amount)
        original.reversed += amount
        book.reversals.append((original, amount))
        book.tell("points.reversed", account, entry, amount)
        return _posted(account, entry, amount, expired)


@dataclass(frozen=True, slots=True)
class PlaceHold:
    """Sets value aside."""

    key: Key
    at: datetime
    amount: int
    expires_at: datetime | None = None

    def wants(self) -> Wants:
        """The account."""
        return Wants((self.key,))

    def decide(self, book: Book) -> Posted:
        """Freezes lots. Raises MEMBER_NOT_FOUND, MEMBER_NOT_ACTIVE, INSUFFICIENT_POINTS or _FUNDS."""
        account = book.active(self.key, self.at)
        uses = account.hold(self.at, self.amount)
        hold = Hold(new_id(), self.key, self.amount, HoldState.ACTIVE, self.at, self.expires_at, uses)
        book.holds[hold.hold_id] = hold
        book.new_holds.append(hold)
        return Posted(hold.hold_id, self.amount, account.posted)


@dataclass(frozen=True, slots=True)
class Capture:
    """Posts a hold, or a part of it; the rest goes back. The transaction has the hold's id."""

    hold_id: UUID
    at: datetime
    amount: int | None = None

    def wants(self) -> Wants:
        """The hold; its account comes with it."""
        return Wants(holds=(self.hold_id,))

    def decide(self, book: Book) -> Posted:
        """Captures. Raises TRANSACTION_NOT_FOUND, HOLD_NOT_ACTIVE, REVERSAL_EXCEEDS."""
        hold = book.hold(self.hold_id)
        amount = hold.amount if self.amount is None else self.amount
        if amount > hold.amount:
            detail = Shortfall(available=hold.amount, requested=amount)
            raise Refused(Reason.REVERSAL_EXCEEDS, "The hold is smaller than that.", detail=detail)
        account = book.account(hold.key, self.at)
        kind, category = (Kind.CAPTURE, Category.REDEEM) if account.has_lots else (Kind.SETTLE, Category.SPEND)
        entry = account.capture(Draft(hold.hold_id, kind, category, self.at), hold.uses, amount, hold.amount)
        book.end(hold, HoldState.CAPTURED)
        if account.has_lots:
            book.tell("points.redeemed", account, entry, amount)
        return _posted(account, entry, amount)


@dataclass(frozen=True, slots=True)
class Void:
    """Ends a hold and gives everything back; what has run out meanwhile expires there (G5)."""

    hold_id: UUID
    at: datetime

    def wants(self) -> Wants:
        """The hold; its account comes with it."""
        return Wants(holds=(self.hold_id,))

    def decide(self, book: Book) -> Posted:
        """Releases. Raises TRANSACTION_NOT_FOUND, HOLD_NOT_ACTIVE."""
        hold = book.hold(self.hold_id)
        account = book.account(hold.key, self.at)
        account.release(hold.uses, hold.amount)
        before = account.posted
        account.sweep(self.at)
        book.end(hold, HoldState.VOIDED)
        return Posted(hold.hold_id, hold.amount, account.available(self.at), before - account.posted)


@dataclass(frozen=True, slots=True)
class Refuse:
    """A call that is refused before it reaches an account, and remembered all the same (G58)."""

    refusal: Refused

    def wants(self) -> Wants:
        """Nothing."""
        return Wants()

    def decide(self, book: Book) -> Posted:
        """Raises the refusal."""
        raise self.refusal


def or_refusal(make: Callable[[], Posting]) -> Posting:
    """The posting, or a Refuse of what `make` refused for good. Raises what does not bind a key."""
    try:
        return make()
    except Refused as refusal:
        if not refusal.binds:
            raise
        return Refuse(refusal)


def _posted(account: Account, entry: Entry, amount: int, expired: int = 0) -> Posted:
    return Posted(entry.transaction_id, amount, account.posted, expired)
