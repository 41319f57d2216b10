"""An account under its lock, and what a posting does to it. Pure: no IO, no clock, no proto, no SQL.

Every method checks first and changes afterwards, so a refusal leaves the account as it was. What is to be
written accumulates in `changes`; the store writes it in one go.
"""

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from uuid import UUID

from rewards.errors.v1.errors_pb2 import Shortfall

from ledger_svc.journal.values import (
    MAX_AMOUNT,
    TICK,
    Category,
    Draft,
    Entry,
    Key,
    Kind,
    Lot,
    LotsMissing,
    Order,
    Owner,
    Use,
    split,
)
from svckit.clock import new_id
from svckit.errors import Reason, Refused


@dataclass(slots=True)
class Changes:
    """What is to be written: entries, uses and new lots are added, changed lots are stored as they are now."""

    entries: list[Entry] = field(default_factory=list)
    uses: dict[UUID, list[Use]] = field(default_factory=dict)
    lots: dict[UUID, Lot] = field(default_factory=dict)
    new_lots: list[Lot] = field(default_factory=list)
    held: bool = False

    @property
    def any(self) -> bool:
        """True if there is anything to write."""
        return bool(self.entries or self.lots or self.new_lots or self.held)


@dataclass(slots=True)
class Account:
    """An account's state. `posted` is the sum of its entries; `held` is what active holds set aside.

    Held points are taken out of their lots and kept by the hold, which freezes them there (G5). `lots`
    are the open ones, and those that a reversal or a hold names, in burn order. Funding has no lots.
    Where only the first lots were loaded, `horizon` is the place of the last of them: whoever needs to look
    beyond raises LotsMissing.
    """

    key: Key
    account_id: int
    posted: int = 0
    held: int = 0
    version: int = 0
    last_at: datetime | None = None
    lots: list[Lot] = field(default_factory=list)
    horizon: Order | None = None
    changes: Changes = field(default_factory=Changes)

    @property
    def debt(self) -> int:
        """What was taken back after it was spent or frozen (G11). While there is any, no lot has a remainder."""
        return max(0, self.held - self.posted) if self.has_lots else 0

    @property
    def has_lots(self) -> bool:
        """True for points; money that was paid in does not run out."""
        return self.key.owner_kind is Owner.MEMBER

    def know(self, lots: Iterable[Lot]) -> None:
        """Adds lots that a reversal or a hold names, unless they are there."""
        known = {lot.lot_id for lot in self.lots}
        for lot in lots:
            if lot.lot_id not in known:
                bisect.insort(self.lots, lot, key=Lot.order)

    def moment(self, at: datetime) -> datetime:
        """`at`, but not before the last entry: where what changes without an entry stands among the entries."""
        return at if self.last_at is None else max(at, self.last_at)

    def balance(self, at: datetime) -> int:
        """Posted less what has run out at `at`, whether that is posted yet or not (G3)."""
        return self.posted - sum(lot.remaining for lot in self._run_out(at))

    def available(self, at: datetime) -> int:
        """What may be taken at `at`: the balance less the holds (G6), never below 0."""
        return max(0, self.balance(at) - self.held)

    def sweep(self, at: datetime) -> None:
        """Posts the expiry of every open lot that has run out. Closing the lot makes it once only."""
        if self.horizon is not None and not self.horizon[0] and self.horizon[1] <= at:
            raise LotsMissing
        for lot in [lot for lot in self._run_out(at) if lot.remaining]:
            draft = Draft(new_id(), Kind.EXPIRE, Category.EXPIRED, at, effective_at=lot.expires_at)
            self._post(draft, -lot.remaining)
            self.changes.uses[draft.transaction_id] = [Use(lot.lot_id, lot.remaining)]
            lot.lapsed += lot.remaining
            self._set(lot, 0)

    def credit(self, draft: Draft, amount: int, expires_at: datetime | None = None) -> Entry:
        """Adds a new lot. A debt is filled first (G11). Raises AMOUNT_OUT_OF_RANGE over 2^53."""
        self.check_room(amount)
        debt = self.debt
        entry = self._post(draft, amount)
        if self.has_lots:
            self._add(draft, Lot(draft.transaction_id, entry.recorded_at, expires_at, amount, amount), debt)
        return entry

    def check_room(self, amount: int) -> None:
        """Raises AMOUNT_OUT_OF_RANGE if the balance would be over 2^53, or a debt would."""
        if abs(self.posted + amount) > MAX_AMOUNT:
            raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "The balance would be over the allowed range.")

    def unlapsed(self, lot_id: UUID, original: int) -> int:
        """How much of an earning has not run out; all of it where no lot was made."""
        return original - next((lot.lapsed for lot in self.lots if lot.lot_id == lot_id), 0)

    def receive(self, draft: Draft, parts: list[tuple[Use, Lot]]) -> Entry:
        """Takes in what another account's lots gave, each part with its own expiry (G18). A debt is filled first.

        Whether there is room was checked before the other account gave.
        """
        amount, debt = sum(use.amount for use, _ in parts), self.debt
        entry = self._post(draft, amount)
        for use, lot in parts:
            part = Lot(new_id(), lot.earned_at, lot.expires_at, use.amount, use.amount, received_at=entry.recorded_at)
            self._add(draft, part, debt)
            debt -= min(debt, use.amount)
        return entry

    def give(self, draft: Draft, amount: int) -> tuple[Entry, list[tuple[Use, Lot]]]:
        """As `debit`, and says which lots it came from."""
        entry = self.debit(draft, amount)
        known = {lot.lot_id: lot for lot in self.lots}
        return entry, [(use, known[use.lot_id]) for use in self.changes.uses[draft.transaction_id]]

    def part_with(self, draft: Draft, lot_ids: Iterable[UUID]) -> tuple[Entry, list[Use]]:
        """Takes all that is left of the lots, of which at least one has something."""
        asked = set(lot_ids)
        uses = [Use(lot.lot_id, lot.remaining) for lot in self.lots if lot.lot_id in asked and lot.remaining]
        for lot in self.lots:
            if lot.lot_id in asked:
                self._set(lot, 0)
        self.changes.uses[draft.transaction_id] = uses
        return self._post(draft, -sum(use.amount for use in uses)), uses

    def take_back(self, draft: Draft, uses: list[Use]) -> Entry:
        """Takes points into the lots that they once left, which the account must know. A debt is filled first."""
        self._return(draft.transaction_id, uses)
        return self._post(draft, sum(use.amount for use in uses))

    def claw_back(self, draft: Draft, lot_id: UUID, amount: int) -> Entry:
        """Takes an earning back: from its own lot, then from the others in burn order, then as debt (G11)."""
        if self.horizon is not None:
            raise LotsMissing
        uses, left = [], amount
        for lot in sorted(self.lots, key=lambda lot: (lot.lot_id != lot_id, lot.order())):
            taken = min(left, lot.remaining)
            if taken:
                uses.append(Use(lot.lot_id, taken))
                self._set(lot, lot.remaining - taken)
                left -= taken
        self.changes.uses[draft.transaction_id] = uses
        return self._post(draft, -amount)

    def debit(self, draft: Draft, amount: int) -> Entry:
        """Takes all of `amount` or nothing (G15). Raises INSUFFICIENT_POINTS or INSUFFICIENT_FUNDS."""
        uses = self._draw(draft.at, amount)
        self.changes.uses[draft.transaction_id] = uses
        return self._post(draft, -amount)

    def hold(self, at: datetime, amount: int) -> list[Use]:
        """Sets `amount` aside and gives what was frozen in which lot. Refuses as `debit` does."""
        uses = self._draw(at, amount)
        self.held += amount
        self.changes.held = True
        return uses

    def capture(self, draft: Draft, held: list[Use], amount: int, total: int) -> Entry:
        """Posts `amount` of a hold of `total` and gives the rest back to its lots."""
        _, rest = split(held, amount)
        self._return(draft.transaction_id, rest)
        self.held -= total
        self.changes.held = True
        return self._post(draft, -amount)

    def capture_part(self, draft: Draft, held: list[Use], amount: int) -> tuple[Entry, list[Use]]:
        """Posts `amount` of a hold. The rest stays frozen, where it is, for another one; gives what that is."""
        _, rest = split(held, amount)
        self.changes.uses[draft.transaction_id] = [Use(use.lot_id, -use.amount) for use in rest]
        self.held -= amount
        self.changes.held = True
        return self._post(draft, -amount), rest

    def release(self, hold_id: UUID, held: list[Use], total: int) -> None:
        """Ends a hold: everything goes back to its lots; what has run out meanwhile expires there."""
        self._return(hold_id, held)
        self.held -= total
        self.changes.held = True

    def reverse(self, draft: Draft, uses: list[Use], amount: int) -> tuple[Entry, int]:
        """Gives `amount` of what a debit drew back to the lots it came from, with their expiry (G8).

        The last drawn comes back first, as if the debit had been smaller. Returns the entry and how much
        of it had run out meanwhile and so expired at once.
        """
        _, back = split(uses, sum(use.amount for use in uses) - amount)
        self._return(draft.transaction_id, back)
        entry = self._post(draft, amount)
        before = self.posted
        self.sweep(draft.at)
        return entry, before - self.posted

    def _run_out(self, at: datetime) -> Sequence[Lot]:
        """The lots that have run out at `at`: in burn order they stand first (G2)."""
        if not self.lots or not self.lots[0].expired(at):
            return ()
        return [*takewhile(lambda lot: lot.expired(at), self.lots)]

    def _return(self, transaction_id: UUID, uses: list[Use]) -> None:
        """Puts points back into their lots, which the account must know; a debt takes the first of them."""
        _, back = split(uses, self.debt)
        known = {lot.lot_id: lot for lot in self.lots}
        for use in back:
            lot = known[use.lot_id]
            self._set(lot, lot.remaining + use.amount)
        self.changes.uses[transaction_id] = [Use(use.lot_id, -use.amount) for use in back]

    def _add(self, draft: Draft, lot: Lot, debt: int) -> None:
        """Adds a new lot, of which a debt takes its part at once."""
        filled = min(debt, lot.remaining)
        if filled:
            lot.remaining -= filled
            self.changes.uses.setdefault(draft.transaction_id, []).append(Use(lot.lot_id, filled))
        self.changes.new_lots.append(lot)
        bisect.insort(self.lots, lot, key=Lot.order)

    def _draw(self, at: datetime, amount: int) -> list[Use]:
        available = self.available(at)
        if amount > available:
            points = self.has_lots
            reason = Reason.INSUFFICIENT_POINTS if points else Reason.INSUFFICIENT_FUNDS
            what = "points are" if points else "minor units of funding are"
            detail = Shortfall(available=available, requested=amount)
            raise Refused(reason, f"Only {available} {what} available, {amount} were asked for.", detail=detail)
        if not self.has_lots:
            return []
        uses, left = [], amount
        for lot in self.lots:
            taken = 0 if lot.expired(at) else min(left, lot.remaining)
            if taken and self.horizon is not None and lot.order() > self.horizon:
                raise LotsMissing
            if taken:
                uses.append(Use(lot.lot_id, taken))
                self._set(lot, lot.remaining - taken)
                left -= taken
                if not left:
                    break
        if left and self.horizon is not None:
            raise LotsMissing
        if left:
            # Checked and taken on the same lots under the same lock, so this is a fault of ours (G13).
            raise AssertionError("the lots do not add up to the balance")
        return uses

    def _post(self, draft: Draft, amount: int) -> Entry:
        # Strictly later than the entry before, so that the balance as of an instant is one index probe.
        recorded_at = draft.at if self.last_at is None else max(draft.at, self.last_at + TICK)
        self.posted += amount
        self.version += 1
        self.last_at = recorded_at
        entry = Entry(
            transaction_id=draft.transaction_id,
            kind=draft.kind,
            category=draft.category,
            amount=amount,
            balance_after=self.posted,
            version=self.version,
            recorded_at=recorded_at,
            effective_at=draft.effective_at or recorded_at,
            reverses=draft.reverses,
            reason=draft.reason,
        )
        self.changes.entries.append(entry)
        return entry

    def _set(self, lot: Lot, remaining: int) -> None:
        lot.remaining = remaining
        self.changes.lots[lot.lot_id] = lot
