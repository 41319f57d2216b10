"""Clawbacks, transfers, partners' holds, and the posting of what has run out."""

from typing import Any
from uuid import UUID

from rewards.identity.v1.programs_pb2 import Policy
from rewards.ledger.v1 import movements_pb2 as pb
from rewards.ledger.v1.movements_pb2_grpc import MovementsServiceServicer

from ledger_svc.journal import replies, store, wire
from ledger_svc.journal.book import Posting
from ledger_svc.journal.holdings import Capture, PlaceHold, Void
from ledger_svc.journal.postings import Transfer, or_refusal
from ledger_svc.journal.requests import Asked
from ledger_svc.journal.sweeps import Sweeper
from ledger_svc.journal.undoings import ClawBack
from ledger_svc.parts import Rpcs
from svckit.db import Tx
from svckit.errors import Reason, Refused, invalid


class MovementsServicer(Rpcs, MovementsServiceServicer):
    """Movements of members' points beside earning and redeeming."""

    async def ReverseTransaction(
        self, request: pb.ReverseTransactionRequest, context: Any
    ) -> pb.ReverseTransactionResponse:
        """Takes back what a transaction earned, also what was spent of it."""
        program, now = await self.program()
        amount = request.amount if request.HasField("amount") else None
        write_off = program.policy.debt == Policy.WRITE_OFF
        claw_back = ClawBack(wire.uuid(request.transaction_id, "transactionId"), now, amount, write_off)
        asked = Asked("ReverseTransaction", claw_back, pb.ReverseTransactionResponse, replies.reversed_transaction)
        return await self.post(request, program, asked)

    async def CreateTransfer(self, request: pb.CreateTransferRequest, context: Any) -> pb.CreateTransferResponse:
        """Moves points from one member to another; each lot keeps its expiry."""
        program, now = await self.program()

        def within_limit() -> Posting:
            most = program.policy.transfer_max_points
            if not most:
                raise Refused(Reason.PERMISSION_DENIED, "Members of this program cannot transfer points.")
            source = wire.member_key(program, request.from_member_id, request.asset)
            target = wire.member_key(program, request.to_member_id, request.asset)
            if source == target:
                raise invalid(toMemberId="is the same member")
            if request.points > most:
                raise Refused(Reason.AMOUNT_OUT_OF_RANGE, f"One transfer moves at most {most} points.")
            return Transfer(source, target, now, request.points, request.reason)

        posting = or_refusal(within_limit)
        asked = Asked("CreateTransfer", posting, pb.CreateTransferResponse, replies.transferred)
        return await self.post(request, program, asked)

    async def CreateHold(self, request: pb.CreateHoldRequest, context: Any) -> pb.CreateHoldResponse:
        """Sets a member's points aside."""
        program, now = await self.program()

        def held() -> Posting:
            until = wire.future_expiry(request.expires_at, program.zone, now, "expiresAt")
            return PlaceHold(
                wire.member_key(program, request.member_id, request.asset), now, request.points, until, partner=True
            )

        asked = Asked("CreateHold", or_refusal(held), pb.CreateHoldResponse, replies.held_points)
        return await self.post(request, program, asked)

    async def CapturePointsHold(
        self, request: pb.CapturePointsHoldRequest, context: Any
    ) -> pb.CapturePointsHoldResponse:
        """Posts a hold or a part of it."""
        program, now = await self.program()
        points = request.points if request.HasField("points") else None
        capture = Capture(UUID(request.hold_id), now, points, partner=True)
        asked = Asked("CapturePointsHold", capture, pb.CapturePointsHoldResponse, replies.captured_points)
        return await self.post(request, program, asked)

    async def VoidPointsHold(self, request: pb.VoidPointsHoldRequest, context: Any) -> pb.VoidPointsHoldResponse:
        """Ends a hold."""
        program, now = await self.program()
        void = Void(UUID(request.hold_id), now, partner=True)
        asked = Asked("VoidPointsHold", void, pb.VoidPointsHoldResponse, replies.voided_points)
        return await self.post(request, program, asked)

    async def CreateExpirations(
        self, request: pb.CreateExpirationsRequest, context: Any
    ) -> pb.CreateExpirationsResponse:
        """Posts what has run out, for a member or for all of the program."""
        program, now = await self.program()

        # Sweeping is idempotent by itself, so only its count is kept under the key.
        sweeper = Sweeper(self.db, self.journal, self.clock)
        member_id = None
        if request.member_id:
            async with self.db.read() as tx:
                member_id = (await store.counting(tx, program.program_id, request.member_id)).member_id
        expired, accounts = await sweeper.expire(program.program_id, now, member_id)

        async def count(_: Tx) -> pb.CreateExpirationsResponse:
            return pb.CreateExpirationsResponse(expired=expired, accounts=accounts)

        return await self.idempotency.once(request, pb.CreateExpirationsResponse, count)
