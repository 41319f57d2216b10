"""The five reports: each gives its rows page by page, and its sums beside the journal's."""

import asyncio
from collections import Counter
from typing import Any, Final, NamedTuple, Protocol

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from rewards.fulfillment.v1 import reports_pb2 as pb

from fulfillment_svc.redemptions import store as redemptions
from fulfillment_svc.redemptions.saga import Saga
from fulfillment_svc.redemptions.states import Answer
from fulfillment_svc.reports import store, wire
from fulfillment_svc.reports.books import Books, Sums
from fulfillment_svc.reports.rules import FIRST, Period
from svckit.db import Database
from svckit.programs import Program

# So many redemptions are asked for at their providers at once, and no more than that are on a page.
ASKED_AT_ONCE: Final = 16
ASKED_MAX: Final = 100


class Scope(NamedTuple):
    """What a report is of. `basis_points` is the caller's estimate of the breakage."""

    program: Program
    period: Period
    basis_points: int = 0


class Page(NamedTuple):
    """Some rows, and the place of the last of them if there are more."""

    rows: list[Message]
    place: tuple[str, ...] | None


class Report(Protocol):
    """A report. `row` is what its rows are, `parts` of how many a place consists."""

    row: Descriptor
    parts: int

    async def page(self, scope: Scope, place: list[str] | None, size: int) -> Page:
        """At most `size` rows from the one after `place`. Raises INVALID_REQUEST for a place that cannot be."""

    async def totals(self, scope: Scope) -> list[pb.ReportTotal]:
        """The sums of all rows, beside the journal's."""


class Paid:
    """What the spend is read off, and what else is about the same redemptions."""

    row: Descriptor = pb.SpendRow.DESCRIPTOR
    parts = 2
    names: tuple[str, ...] = ("spent", "fees")

    def __init__(self, db: Database, books: Books) -> None:
        self._db = db
        self._books = books

    async def page(self, scope: Scope, place: list[str] | None, size: int) -> Page:
        """By the instant at which the ledger recorded that it was paid."""
        found, last = await self._spent(scope, place, size)
        return Page([wire.spend(row) for row in found], last)

    async def totals(self, scope: Scope) -> list[pb.ReportTotal]:
        """Face values, and fees."""
        program_id, period = scope.program.program_id, scope.period
        async with self._db.read() as tx:
            found = await store.spent_sums(tx, program_id, period)
        sums: Sums = Counter()
        for row in found:
            sums["spent", row["currency"]], sums["fees", row["currency"]] = row["value_minor"], row["fees_minor"]
        return await self._books.totals(program_id, period, self.names, sums)

    async def _spent(
        self, scope: Scope, place: list[str] | None, size: int
    ) -> tuple[list[Any], tuple[str, ...] | None]:
        after = wire.moment(place, scope.period.start)
        async with self._db.read() as tx:
            found = await store.spent(tx, scope.program.program_id, scope.period, after, size + 1)
        return list(found[:size]), _more(found, size, "booked_at", "redemption_id")


class Payees(Paid):
    """What each payee got."""

    row = pb.PayeeRow.DESCRIPTOR
    parts = 4
    names = ("spent",)

    async def page(self, scope: Scope, place: list[str] | None, size: int) -> Page:
        """Members first, then by payee, year and currency."""
        program, after = scope.program, wire.payee_place(place)
        async with self._db.read() as tx:
            found = await store.payees(tx, program.program_id, scope.period, program.zone.key, after, size + 1)
        return Page([wire.payee(row) for row in found[:size]], _more(found, size, "kind", "payee", "year", "currency"))


class Reconciliation(Paid):
    """What was paid for, against what the providers say."""

    row = pb.ReconciliationRow.DESCRIPTOR
    names = ("spent",)

    def __init__(self, db: Database, books: Books, saga: Saga) -> None:
        super().__init__(db, books)
        self._saga = saga
        self._asking = asyncio.Semaphore(ASKED_AT_ONCE)

    async def page(self, scope: Scope, place: list[str] | None, size: int) -> Page:
        """By the instant at which the ledger recorded that it was paid; each is asked for at its provider now."""
        found, last = await self._spent(scope, place, min(size, ASKED_MAX))
        return Page(await asyncio.gather(*(self._compared(scope, row) for row in found)), last)

    async def _compared(self, scope: Scope, row: Any) -> pb.ReconciliationRow:
        async with self._asking:
            async with self._db.read() as tx:
                ours = await redemptions.find(tx, scope.program.program_id, row["redemption_id"])
            if ours is None:
                raise LookupError("a redemption is never deleted")
            reply = await self._saga.ask(ours)
        if reply.answer in (Answer.DONE, Answer.PART):
            issued = ours.choice.denomination_minor * sum(code is not None for code in reply.codes)
            return wire.reconciliation(row, issued, "MATCHED" if issued == row["value_minor"] else "DIFFERS")
        return wire.reconciliation(row, None, "UNKNOWN" if reply.answer is Answer.UNKNOWN else "MISSING")


class Redeemed:
    """What members paid for rewards."""

    row: Descriptor = pb.RedemptionRow.DESCRIPTOR
    parts = 2

    def __init__(self, db: Database, books: Books) -> None:
        self._db = db
        self._books = books

    async def page(self, scope: Scope, place: list[str] | None, size: int) -> Page:
        """By the instant at which the ledger recorded that it was paid."""
        program, after = scope.program, wire.moment(place, scope.period.start)
        async with self._db.read() as tx:
            found = await store.redeemed(tx, program.program_id, scope.period, after, size + 1)
        rows = [wire.redemption(row, program.asset) for row in found[:size]]
        return Page([*rows], _more(found, size, "booked_at", "redemption_id"))

    async def totals(self, scope: Scope) -> list[pb.ReportTotal]:
        """The points."""
        program_id = scope.program.program_id
        async with self._db.read() as tx:
            points = await store.redeemed_sum(tx, program_id, scope.period)
        sums: Sums = Counter({("redeemed", scope.program.asset): points})
        return await self._books.totals(program_id, scope.period, ("redeemed",), sums)


class Liability:
    """What is outstanding. It is read off the ledger's lots, and held against the journal's entries."""

    row: Descriptor = pb.LiabilityRow.DESCRIPTOR
    parts = 1

    def __init__(self, books: Books) -> None:
        self._books = books

    async def page(self, scope: Scope, place: list[str] | None, size: int) -> Page:
        """All of it: a row a month and asset."""
        found = await self._books.lots(scope.program.program_id, scope.period.end)
        rows = [wire.liability(one, scope.program, scope.basis_points) for one in found.vintages]
        return Page([*rows, *(wire.owed(*one) for one in found.owed)], None)

    async def totals(self, scope: Scope) -> list[pb.ReportTotal]:
        """What is outstanding at the period's end, beside all that ever moved the balances."""
        sums: Sums = Counter()
        rows: Any = (await self.page(scope, None, 0)).rows
        for row in rows:
            sums["outstanding", row.asset] += row.outstanding
        everything = Period(FIRST, scope.period.end)
        return await self._books.totals(scope.program.program_id, everything, ("outstanding",), sums)


def _more(found: Any, size: int, *names: str) -> tuple[str, ...] | None:
    """The place of a page's last row, if there was one more."""
    if len(found) <= size:
        return None
    last = found[size - 1]
    return tuple(one.isoformat() if hasattr(one, "isoformat") else str(one) for one in map(last.__getitem__, names))
