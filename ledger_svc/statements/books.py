"""Sums over a program's journal, for fulfillment_svc's reports."""

from typing import Any, Final

from rewards.ledger.v1 import books_pb2 as pb
from rewards.ledger.v1.books_pb2_grpc import BooksServiceServicer

from ledger_svc.journal.wire import instant
from ledger_svc.parts import Rpcs
from ledger_svc.statements import books_store, wire
from ledger_svc.statements.books_store import BEFORE_ALL, Part
from svckit import paging
from svckit.db import Tx

# Mostly under a second of the database's time.
ACCOUNTS_MAX: Final = 5_000


class BooksServicer(Rpcs, BooksServiceServicer):
    """Adds up, some accounts at a time."""

    async def SumPostings(self, request: pb.SumPostingsRequest, context: Any) -> pb.SumPostingsResponse:
        """What was posted in a period, by its kind."""
        program, _ = await self.program(request.program_id)
        async with self.db.read() as tx:
            part = await _part(tx, request)
            found = await books_store.postings(tx, program.program_id, wire.period(request), part)
        return pb.SumPostingsResponse(
            sums=[pb.PostingSum(**row) for row in found], next_page_token=_more(request, part)
        )

    async def SumLots(self, request: pb.SumLotsRequest, context: Any) -> pb.SumLotsResponse:
        """What became of points, by the month in which they were earned."""
        program, _ = await self.program(request.program_id)
        at = instant(request.to_time, "to")
        async with self.db.read() as tx:
            part = await _part(tx, request)
            found = await books_store.vintages(tx, program.program_id, at, program.zone.key, part)
            owed = await books_store.owed(tx, program.program_id, at, part)
        return pb.SumLotsResponse(
            vintages=[pb.Vintage(**row) for row in found],
            owed=[pb.Owed(**row) for row in owed],
            next_page_token=_more(request, part),
        )


async def _part(tx: Tx, request: pb.SumPostingsRequest | pb.SumLotsRequest) -> Part:
    place = paging.place(request, 1)
    after = BEFORE_ALL if place is None else int(place[0])
    return await books_store.part(tx, request.program_id, after, min(request.page_size or ACCOUNTS_MAX, ACCOUNTS_MAX))


def _more(request: pb.SumPostingsRequest | pb.SumLotsRequest, part: Part) -> str:
    return paging.token(request, str(part.last)) if part.more else ""
