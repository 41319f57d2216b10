"""Postings of holds: value set aside, then captured, voided, or timed out. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from rewards.errors.v1.errors_pb2 import Shortfall

from ledger_svc.journal.book import Book, Hold, HoldState, Posted, Wants
from ledger_svc.journal.values import Category, Draft, Key, Kind
from svckit.clock import new_id
from svckit.errors import Reason, Refused, invalid


@dataclass(frozen=True, slots=True)
class PlaceHold:
    """Sets value aside."""

    key: Key
    at: datetime
    amount: int
    expires_at: datetime | None = None
    partner: bool = False

    def wants(self) -> Wants:
        """The account."""
        return Wants((self.key,))

    def decide(self, book: Book) -> Posted:
        """Freezes lots. Raises MEMBER_NOT_FOUND, MEMBER_NOT_ACTIVE, INSUFFICIENT_POINTS or _FUNDS."""
        account = book.active(self.key, self.at)
        uses = account.hold(self.at, self.amount)
        placed_at = account.moment(self.at)
        active = HoldState.ACTIVE
        hold = Hold(new_id(), account.key, self.amount, active, placed_at, self.expires_at, self.partner, uses)
        book.place(hold)
        book.watch(account, self.at)
        return Posted(hold.hold_id, self.amount, account.posted)


@dataclass(frozen=True, slots=True)
class Capture:
    """Posts a hold, or a part of it; the rest goes back, or is held on. The transaction has the hold's id.

    `fee` is the part of the amount that is posted as a fee, in a transaction of its own.
    """

    hold_id: UUID
    at: datetime
    amount: int | None = None
    partner: bool = False
    keep_rest: bool = False
    fee: int = 0

    def wants(self) -> Wants:
        """The hold; its account comes with it."""
        return Wants(holds=(self.hold_id,))

    def decide(self, book: Book) -> Posted:
        """Captures. Raises TRANSACTION_NOT_FOUND, HOLD_NOT_ACTIVE, REVERSAL_EXCEEDS, INVALID_REQUEST."""
        hold = book.hold(self.hold_id, partner=self.partner)
        if hold.due(self.at):
            raise Refused(Reason.HOLD_NOT_ACTIVE, "The hold has run out.")
        amount = hold.amount if self.amount is None else self.amount
        if amount > hold.amount:
            detail = Shortfall(available=hold.amount, requested=amount)
            raise Refused(Reason.REVERSAL_EXCEEDS, "The hold is smaller than that.", detail=detail)
        account = book.account(hold.key, self.at)
        if self.fee and (account.has_lots or self.fee >= amount):
            raise invalid(fee="is less than the amount, and of funding only")
        kind, category = (Kind.CAPTURE, Category.REDEEM) if account.has_lots else (Kind.SETTLE, Category.SPEND)
        draft, rest = Draft(hold.hold_id, kind, category, self.at), None
        if self.keep_rest and amount < hold.amount:
            entry, uses = account.capture_part(draft, hold.uses, amount - self.fee)
            placed_at, left = account.moment(self.at), hold.amount - amount
            rest = replace(hold, hold_id=new_id(), amount=left, placed_at=placed_at, uses=uses)
            book.place(rest)
        else:
            entry = account.capture(draft, hold.uses, amount - self.fee, hold.amount - self.fee)
        if self.fee:
            charged = Draft(new_id(), Kind.FEE, category, self.at, reason=str(hold.hold_id))
            account.capture(charged, [], self.fee, self.fee)
        book.end(hold, HoldState.CAPTURED, self.at)
        book.watch(account, self.at)
        if account.has_lots:
            book.tell("points.redeemed", account, entry, amount)
            # What was not captured may have run out meanwhile.
            account.sweep(self.at)
        counting = book.forward(account, self.at)
        return Posted.of(counting, entry, amount, rest=None if rest is None else rest.hold_id)


@dataclass(frozen=True, slots=True)
class Void:
    """Ends a hold and gives everything back; what has run out meanwhile expires there (G5).

    A `timeout` ends only a hold that is due, and one that has ended otherwise is no refusal.
    """

    hold_id: UUID
    at: datetime
    timeout: bool = False
    partner: bool = False

    def wants(self) -> Wants:
        """The hold; its account comes with it."""
        return Wants(holds=(self.hold_id,))

    def decide(self, book: Book) -> Posted:
        """Releases. Raises TRANSACTION_NOT_FOUND, HOLD_NOT_ACTIVE."""
        hold = book.hold(self.hold_id, partner=self.partner)
        due = hold.due(self.at)
        if due is not self.timeout:
            raise Refused(Reason.HOLD_NOT_ACTIVE, "The hold has run out." if due else "The hold has not run out yet.")
        account = book.account(hold.key, self.at)
        # Ended before what it thaws runs out, so that a balance as of an earlier instant can tell the two apart.
        book.end(hold, HoldState.TIMED_OUT if due else HoldState.VOIDED, self.at)
        account.release(hold.hold_id, hold.uses, hold.amount)
        book.watch(account, self.at)
        before = account.posted
        account.sweep(self.at)
        expired = before - account.posted
        counting = book.forward(account, self.at)
        return Posted(hold.hold_id, hold.amount, counting.available(self.at), expired)
