"""Credits, redemptions and their reversals, as partners call them."""

from typing import Any
from uuid import UUID

from google.rpc.status_pb2 import Status
from rewards.ledger.v1 import points_pb2 as pb

from ledger_svc.journal import replies, rules, store, wire
from ledger_svc.journal.postings import Credit, Redeem, Reverse, or_refusal
from ledger_svc.journal.values import Category, Kind
from ledger_svc.parts import Rpcs
from svckit import call
from svckit.db import Tx
from svckit.errors import Reason, from_status
from svckit.idempotency import Claim, State


class RedemptionRpcs(Rpcs):
    """The PointsService RPCs that credit, redeem, reverse, and tell what became of a redemption."""

    async def CreateCredit(self, request: pb.CreateCreditRequest, context: Any) -> pb.CreateCreditResponse:
        """Gives a member points outright."""
        program, now = await self.program()
        expires_at = wire.future_expiry(request.expires_at, program.zone, now, "expiresAt")
        key = wire.member_key(program, request.member_id, request.asset)
        category = Category(request.category or Category.BONUS)
        credit = Credit(key, now, request.points, category, expires_at=expires_at, reason=request.reason)
        return await self.post(request, program, credit, pb.CreateCreditResponse, replies.credited)

    async def RedeemPoints(self, request: pb.RedeemPointsRequest, context: Any) -> pb.RedeemPointsResponse:
        """Debits a member's points, all of them or none."""
        program, now = await self.program()
        key = wire.member_key(program, request.member_id, request.asset)
        amount = request.amount if request.HasField("amount") else None

        def worth_it() -> Redeem:
            rules.check_worth(program, request.points, amount, request.currency)
            return Redeem(key, now, request.points, request.reason)

        redeem = or_refusal(worth_it)
        return await self.post(request, program, redeem, pb.RedeemPointsResponse, replies.redeemed)

    async def ReversalPoints(self, request: pb.ReversalPointsRequest, context: Any) -> pb.ReversalPointsResponse:
        """Gives back what a redemption took."""
        program, now = await self.program()
        asked = request.points if request.HasField("points") else None
        reverse = Reverse(wire.uuid(request.transaction_id, "transactionId"), now, asked)
        return await self.post(request, program, reverse, pb.ReversalPointsResponse, replies.reversed_points)

    async def GetRedemption(self, request: pb.GetRedemptionRequest, context: Any) -> pb.GetRedemptionResponse:
        """Tells what became of a redemption, by its transaction or its key."""
        program_id = call.current().program_id
        async with self.db.read() as tx:
            if request.WhichOneof("redemption") == "transaction_id":
                return await self._redemption(tx, program_id, wire.uuid(request.transaction_id, "transactionId"))
            kept = await self.idempotency.find(tx, Claim(program_id, "RedeemPoints", request.idempotency_key, b""))
            if kept is None:
                return pb.GetRedemptionResponse(status=pb.GetRedemptionResponse.NOT_SEEN)
            if kept.state is State.REFUSED:
                return _refused(Status.FromString(kept.body))
            done = pb.RedeemPointsResponse.FromString(kept.body)
            return await self._redemption(tx, program_id, UUID(done.transaction_id))

    async def _redemption(self, tx: Tx, program_id: str, transaction_id: UUID) -> pb.GetRedemptionResponse:
        found = await store.find_entry(tx, program_id, transaction_id)
        if found is None or found[1].kind is not Kind.REDEEM:
            return pb.GetRedemptionResponse(status=pb.GetRedemptionResponse.NOT_SEEN)
        account_id, entry = found
        member_id = await store.owner(tx, program_id, account_id)
        reversed_points = await store.reversed_so_far(tx, program_id, transaction_id)
        redemption = wire.redemption(entry, member_id, reversed_points)
        return pb.GetRedemptionResponse(status=pb.GetRedemptionResponse.DONE, redemption=redemption)


def _refused(status: Status) -> pb.GetRedemptionResponse:
    refusal = from_status(status)
    return pb.GetRedemptionResponse(
        status=pb.GetRedemptionResponse.REFUSED,
        refusal=pb.Refusal(error_code=refusal.reason, reason=Reason.Name(refusal.reason), message=refusal.message),
    )
