"""Postings of merges: a member's points go to the one it was merged into, and back where that is undone. Pure (G44)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ledger_svc.journal.book import MERGE, Book, Posted, Wants
from ledger_svc.journal.values import Category, Draft, Key, Kind, Use
from svckit.clock import new_id


@dataclass(frozen=True, slots=True)
class HandOver:
    """Everything free on the accounts of a member that has become an alias; what is owed there goes along."""

    keys: tuple[Key, ...]
    at: datetime

    def wants(self) -> Wants:
        """The accounts themselves; the survivor's come with them."""
        return Wants(own=self.keys)

    def decide(self, book: Book) -> Posted:
        """Hands over. Refuses nothing: whether to merge was decided before."""
        for key in self.keys:
            book.forward(book.accounts[key], self.at)
        return Posted(new_id(), 0, 0)


@dataclass(frozen=True, slots=True)
class HandBack:
    """What is left of the lots that a merge brought goes back into those that it came from (`lots`)."""

    source: Key
    target: Key
    at: datetime
    lots: Mapping[UUID, UUID]

    def wants(self) -> Wants:
        """Both accounts, with the lots that points come back to."""
        return Wants(own=(self.source, self.target), lots=tuple(self.lots.values()))

    def decide(self, book: Book) -> Posted:
        """Hands back; what has run out is posted as expired first and stays where it did."""
        source, target = book.account(self.source, self.at), book.accounts[self.target]
        left = [lot.lot_id for lot in source.lots if lot.lot_id in self.lots and lot.remaining]
        if not left:
            return Posted(new_id(), 0, target.posted)
        draft = Draft(new_id(), Kind.TRANSFER, Category.ADJUST, self.at, reason=MERGE)
        given, uses = source.part_with(draft, left)
        taken = target.take_back(draft, [Use(self.lots[use.lot_id], use.amount) for use in uses])
        book.tell_moved((source, given), (target, taken))
        return Posted.of(target, taken, taken.amount)
