"""AdjustmentsService: what is asked for and what it does to the account are of one transaction."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from rewards.ledger.v1 import adjustments_pb2 as pb
from rewards.ledger.v1.adjustments_pb2_grpc import AdjustmentsServiceServicer

from ledger_svc.adjustments import store, wire
from ledger_svc.adjustments.rules import Adjustment, Status
from ledger_svc.journal import store as journal
from ledger_svc.journal.book import Posted
from ledger_svc.journal.postings import Adjust
from ledger_svc.journal.wire import member_key, uuid
from ledger_svc.parts import Rpcs
from svckit import call, paging
from svckit.db import Tx
from svckit.errors import Reason, Refused
from svckit.programs import Program


class AdjustmentsServicer(Rpcs, AdjustmentsServiceServicer):
    """Corrections, and their approval."""

    async def CreateAdjustment(self, request: pb.CreateAdjustmentRequest, context: Any) -> pb.CreateAdjustmentResponse:
        """Posts a correction, or keeps it for a second credential."""
        program, now = await self.program()

        async def work(tx: Tx) -> pb.CreateAdjustmentResponse:
            sent = wire.adjustment(request, program, now, call.current().principal.name)
            counting = await journal.counting(tx, program.program_id, sent.member_id, lock=True)
            asked = replace(sent, member_id=counting.member_id)
            if asked.needs_a_second:
                await store.add(tx, asked)
                return pb.CreateAdjustmentResponse(adjustment=wire.message(asked))
            done = asked.posted_alone(now)
            await store.add(tx, done)
            posted = await self._posted(tx, program, done, now)
            return pb.CreateAdjustmentResponse(adjustment=wire.message(done), balance=posted.balance)

        return await self.idempotency.once(request, pb.CreateAdjustmentResponse, work)

    async def ApproveAdjustment(
        self, request: pb.ApproveAdjustmentRequest, context: Any
    ) -> pb.ApproveAdjustmentResponse:
        """Posts what another credential asked for."""
        program, now = await self.program()
        approver = call.current().principal.name

        async def work(tx: Tx) -> pb.ApproveAdjustmentResponse:
            asked = await store.get(tx, program.program_id, uuid(request.adjustment_id, "adjustmentId"), lock=True)
            counting = await journal.counting(tx, program.program_id, asked.member_id, lock=True)
            if counting.member_id != asked.member_id:
                raise Refused(Reason.CONFLICT, "The member was merged since; reject this and ask anew.")
            done = asked.approved(approver, now)
            await store.decide(tx, done)
            posted = await self._posted(tx, program, done, now)
            return pb.ApproveAdjustmentResponse(adjustment=wire.message(done), balance=posted.balance)

        return await self.idempotency.once(request, pb.ApproveAdjustmentResponse, work)

    async def RejectAdjustment(self, request: pb.RejectAdjustmentRequest, context: Any) -> pb.RejectAdjustmentResponse:
        """Ends a pending correction."""
        program, now = await self.program()

        async def work(tx: Tx) -> pb.RejectAdjustmentResponse:
            asked = await store.get(tx, program.program_id, uuid(request.adjustment_id, "adjustmentId"), lock=True)
            done = asked.rejected(call.current().principal.name, now)
            await store.decide(tx, done)
            return pb.RejectAdjustmentResponse(adjustment=wire.message(done))

        return await self.idempotency.once(request, pb.RejectAdjustmentResponse, work)

    async def GetAdjustment(self, request: pb.GetAdjustmentRequest, context: Any) -> pb.GetAdjustmentResponse:
        """Reads a correction."""
        program_id = call.current().program_id
        async with self.db.read() as tx:
            found = await store.get(tx, program_id, uuid(request.adjustment_id, "adjustmentId"))
        return pb.GetAdjustmentResponse(adjustment=wire.message(found))

    async def ListAdjustments(self, request: pb.ListAdjustmentsRequest, context: Any) -> pb.ListAdjustmentsResponse:
        """Lists corrections, the newest first."""
        program_id, size = call.current().program_id, paging.size(request.page_size)
        status = Status(request.status) if request.status else None
        async with self.db.read() as tx:
            found = await store.page(tx, program_id, status, request.member_id, wire.place(request), size + 1)
        page, token = found[:size], ""
        if len(found) > size:
            token = paging.token(request, page[-1].created_at.isoformat(), str(page[-1].adjustment_id))
        return pb.ListAdjustmentsResponse(adjustments=map(wire.message, page), next_page_token=token)

    async def _posted(self, tx: Tx, program: Program, done: Adjustment, at: datetime) -> Posted:
        key = member_key(program, done.member_id, done.asset)
        until = done.expires_at
        posting = Adjust(key, at, done.adjustment_id, done.points, done.reason_code, done.effective_at, until)
        return await self.journal.post_in(tx, program.program_id, posting)
