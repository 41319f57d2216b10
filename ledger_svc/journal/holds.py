"""Holds: value set aside for a saga, then captured or voided, exactly one of them (G5 to G7)."""

from typing import Any
from uuid import UUID

from rewards.ledger.v1 import journal_pb2 as pb
from rewards.ledger.v1.journal_pb2_grpc import JournalServiceServicer

from ledger_svc.journal import replies, wire
from ledger_svc.journal.postings import Capture, PlaceHold, Void
from ledger_svc.parts import Rpcs


class JournalServicer(Rpcs, JournalServiceServicer):
    """The RPCs that fulfillment_svc's sagas call."""

    async def PlaceHold(self, request: pb.PlaceHoldRequest, context: Any) -> pb.PlaceHoldResponse:
        """Sets value aside."""
        program, now = await self.program(request.program_id)
        expires_at = wire.instant(request.expires_at, "expiresAt") if request.HasField("expires_at") else None
        hold = PlaceHold(wire.account_key(program, request.account), now, request.amount, expires_at)
        return await self.post(request, program, hold, pb.PlaceHoldResponse, replies.held)

    async def CaptureHold(self, request: pb.CaptureHoldRequest, context: Any) -> pb.CaptureHoldResponse:
        """Posts all or part of a hold; the posted transaction has the hold's id."""
        program, now = await self.program(request.program_id)
        amount = request.amount if request.HasField("amount") else None
        capture = Capture(UUID(request.hold_id), now, amount)
        return await self.post(request, program, capture, pb.CaptureHoldResponse, replies.captured)

    async def VoidHold(self, request: pb.VoidHoldRequest, context: Any) -> pb.VoidHoldResponse:
        """Releases a hold."""
        program, now = await self.program(request.program_id)
        void = Void(UUID(request.hold_id), now)
        return await self.post(request, program, void, pb.VoidHoldResponse, replies.voided)
