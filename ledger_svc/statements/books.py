"""Sums over a program's journal, for fulfillment_svc's reports."""

from typing import Any

from rewards.ledger.v1 import books_pb2 as pb
from rewards.ledger.v1.books_pb2_grpc import BooksServiceServicer

from ledger_svc.journal.wire import instant
from ledger_svc.parts import Rpcs
from ledger_svc.statements import books_store, wire


class BooksServicer(Rpcs, BooksServiceServicer):
    """Adds up."""

    async def SumPostings(self, request: pb.SumPostingsRequest, context: Any) -> pb.SumPostingsResponse:
        """What was posted in a period, by its kind."""
        program, _ = await self.program(request.program_id)
        async with self.db.read() as tx:
            found = await books_store.postings(tx, program.program_id, wire.period(request))
        return pb.SumPostingsResponse(sums=[pb.PostingSum(**row) for row in found])

    async def SumLots(self, request: pb.SumLotsRequest, context: Any) -> pb.SumLotsResponse:
        """What became of points, by the month in which they were earned."""
        program, _ = await self.program(request.program_id)
        at = instant(request.to_time, "to")
        async with self.db.read() as tx:
            found = await books_store.vintages(tx, program.program_id, at, program.zone.key)
            owed = await books_store.owed(tx, program.program_id, at)
        return pb.SumLotsResponse(vintages=[pb.Vintage(**row) for row in found], owed=[pb.Owed(**row) for row in owed])
