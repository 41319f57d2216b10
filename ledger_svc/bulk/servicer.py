"""Batches in, and what became of them out."""

from collections.abc import Awaitable, Callable
from typing import Any

from rewards.ledger.v1 import batches_pb2 as pb
from rewards.ledger.v1.batches_pb2_grpc import TransactionBatchesServiceServicer

from ledger_svc.bulk import store, wire
from ledger_svc.bulk.rules import Batch
from ledger_svc.earning.store import rules_in_force
from ledger_svc.journal import batches
from ledger_svc.journal.engine import Results
from ledger_svc.journal.wire import uuid
from ledger_svc.parts import Rpcs
from svckit import call, paging
from svckit.clock import new_id
from svckit.db import Tx


class TransactionBatchesServicer(Rpcs, TransactionBatchesServiceServicer):
    """Events in bulk (G60, G61)."""

    async def InsertTransactionBatch(
        self, request: pb.InsertTransactionBatchRequest, context: Any
    ) -> pb.InsertTransactionBatchResponse:
        """Posts the events and keeps what became of each, in one transaction with the batch's own key."""
        program, now = await self.program()
        async with self.db.read() as tx:
            in_force = await rules_in_force(tx, program.program_id)
        sent, mode = [wire.item(one) for one in request.transactions], batches.mode(request.mode)
        items = [batches.item(one, program, now, in_force, self.idempotency) for one in sent]

        async def once(post: Callable[[Tx], Awaitable[Results]]) -> pb.InsertTransactionBatchResponse:
            async def work(tx: Tx) -> pb.InsertTransactionBatchResponse:
                results = map(batches.result, sent, items, await post(tx))
                batch = Batch(program.program_id, new_id(), mode, now, list(map(wire.kept, sent, results)))
                await store.add(tx, batch)
                return pb.InsertTransactionBatchResponse(batch_id=str(batch.batch_id))

            return await self.idempotency.once(request, pb.InsertTransactionBatchResponse, work)

        return await self.journal.post_within(once, program.program_id, items, mode)

    async def GetBatchStatus(self, request: pb.GetBatchStatusRequest, context: Any) -> pb.GetBatchStatusResponse:
        """Reads a batch, and a page of its items."""
        program_id, batch_id = call.current().program_id, uuid(request.batch_id, "batchId")
        start, size = wire.before(request), paging.size(request.page_size)
        async with self.db.read() as tx:
            tally = await store.tally(tx, program_id, batch_id)
            page = await store.page(tx, program_id, batch_id, start, size)
        return wire.status(request, tally, start, page)
