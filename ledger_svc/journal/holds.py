"""The RPCs that fulfillment_svc's sagas call, and batches: one durable write for many postings."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from rewards.ledger.v1 import journal_pb2 as pb
from rewards.ledger.v1.journal_pb2_grpc import JournalServiceServicer

from ledger_svc.earning.rules import Rule
from ledger_svc.earning.store import rules_in_force
from ledger_svc.journal import batches, replies, store, wire
from ledger_svc.journal.book import Posting
from ledger_svc.journal.holdings import Capture, PlaceHold, Void
from ledger_svc.journal.postings import or_refusal
from ledger_svc.journal.requests import Asked
from ledger_svc.parts import Rpcs
from svckit import call


class JournalServicer(Rpcs, JournalServiceServicer):
    """Holds (G5 to G7) and batches (G60, G61)."""

    async def PlaceHold(self, request: pb.PlaceHoldRequest, context: Any) -> pb.PlaceHoldResponse:
        """Sets value aside."""
        program, now = await self.program(request.program_id)
        expires_at = wire.instant(request.expires_at, "expiresAt") if request.HasField("expires_at") else None

        def placed() -> Posting:
            return PlaceHold(wire.account_key(program, request.account), now, request.amount, expires_at)

        asked = Asked("PlaceHold", or_refusal(placed), pb.PlaceHoldResponse, replies.held)
        return await self.post(request, program, asked)

    async def CaptureHold(self, request: pb.CaptureHoldRequest, context: Any) -> pb.CaptureHoldResponse:
        """Posts all or part of a hold; the posted transaction has the hold's id."""
        program, now = await self.program(request.program_id)
        amount = request.amount if request.HasField("amount") else None
        capture = Capture(UUID(request.hold_id), now, amount, keep_rest=request.keep_rest, fee=request.fee)
        return await self.post(
            request, program, Asked("CaptureHold", capture, pb.CaptureHoldResponse, replies.captured)
        )

    async def GetAvailableFunding(
        self, request: pb.GetAvailableFundingRequest, context: Any
    ) -> pb.GetAvailableFundingResponse:
        """Reads what holds may take of a program's funding."""
        async with self.db.read() as tx:
            found = await store.funding(tx, request.program_id)
        return pb.GetAvailableFundingResponse(available={of.currency: of.posted - of.held for of in found})

    async def VoidHold(self, request: pb.VoidHoldRequest, context: Any) -> pb.VoidHoldResponse:
        """Releases a hold."""
        program, now = await self.program(request.program_id)
        void = Void(UUID(request.hold_id), now)
        return await self.post(request, program, Asked("VoidHold", void, pb.VoidHoldResponse, replies.voided))

    async def PostBatch(self, request: pb.PostBatchRequest, context: Any) -> pb.PostBatchResponse:
        """Posts many in one durable write, each with its own key and outcome."""
        own = call.current().principal.program_id
        program, now = await self.program(own or request.program_id)
        in_force: Sequence[Rule] = ()
        if any(sent.HasField("event") for sent in request.items):
            async with self.db.read() as tx:
                in_force = await rules_in_force(tx, program.program_id)
        items = [batches.item(sent, program, now, in_force, self.idempotency) for sent in request.items]
        results = await self.journal.post_bulk(program.program_id, items, batches.mode(request.mode))
        return pb.PostBatchResponse(results=map(batches.result, request.items, items, results))
