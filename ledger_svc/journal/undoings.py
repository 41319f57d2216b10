"""Postings that undo what was posted: reversals of redemptions and of earnings. Pure."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ledger_svc.journal import rules
from ledger_svc.journal.book import Book, Posted, Wants
from ledger_svc.journal.values import Category, Draft, Kind
from svckit.clock import new_id


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
        """Restores lots. Raises TRANSACTION_NOT_FOUND, AMOUNT_OUT_OF_RANGE and what `rules.reversal_amount` does."""
        original = book.original(self.transaction_id)
        amount = rules.reversal_amount(original.entry, original.reversed, self.amount)
        account = book.account(original.key, self.at)
        account.check_room(amount)
        draft = Draft(new_id(), Kind.REVERSE, Category.REDEEM, self.at, reverses=self.transaction_id)
        entry, expired = account.reverse(draft, original.left, amount)
        original.left = rules.after_reversal(original.left, amount)
        original.reversed += amount
        book.reversals.append((original, amount))
        book.tell("points.reversed", account, entry, amount)
        return Posted.of(book.forward(account, self.at), entry, amount, expired)


@dataclass(frozen=True, slots=True)
class ClawBack:
    """Takes back what a transaction earned; all that is left if `amount` is None (G11).

    What has lapsed of it is gone already and is not taken twice. With `write_off` the balance stops at zero.
    """

    transaction_id: UUID
    at: datetime
    amount: int | None = None
    write_off: bool = False

    def wants(self) -> Wants:
        """The transaction; its account comes with it."""
        return Wants(transactions=(self.transaction_id,))

    def decide(self, book: Book) -> Posted:
        """Debits, below zero if it must. Raises as Reverse does."""
        original = book.original(self.transaction_id)
        amount = rules.reversal_amount(original.entry, original.reversed, self.amount, Kind.EARN)
        account = book.account(original.key, self.at)
        # Never below none: what was taken back may have come from other lots, and its own have lapsed since.
        left = account.unlapsed(self.transaction_id, original.entry.amount) + original.moved
        taken = max(0, min(amount, left))
        if self.write_off:
            counting = book.accounts[book.counting(original.key)]
            taken = min(taken, max(0, counting.posted - counting.held))
        account.check_room(-taken)
        original.reversed += amount
        original.moved -= taken
        book.reversals.append((original, amount))
        if not taken:
            return Posted(new_id(), 0, book.forward(account, self.at).posted, amount)
        draft = Draft(new_id(), Kind.REVERSE, original.entry.category, self.at, reverses=self.transaction_id)
        entry = account.claw_back(draft, self.transaction_id, taken)
        book.tell("points.reversed", account, entry, taken)
        return Posted.of(book.forward(account, self.at), entry, taken, amount - taken)
