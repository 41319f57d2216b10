"""Credits, redemptions and their reversals, as partners call them."""

from typing import Any
from uuid import UUID

from rewards.ledger.v1 import points_pb2 as pb

from ledger_svc.journal import requests, store, wire
from ledger_svc.parts import Rpcs
from svckit import call
from svckit.db import Tx
from svckit.idempotency import Claim, State


class RedemptionRpcs(Rpcs):
    """The PointsService RPCs that credit, redeem, reverse, and tell what became of a redemption."""

    async def CreateCredit(self, request: pb.CreateCreditRequest, context: Any) -> pb.CreateCreditResponse:
        """Gives a member points outright."""
        program, now = await self.program()
        return await self.post(request, program, requests.credit(request, program, now))

    async def RedeemPoints(self, request: pb.RedeemPointsRequest, context: Any) -> pb.RedeemPointsResponse:
        """Debits a member's points, all of them or none."""
        program, now = await self.program()
        return await self.post(request, program, requests.redeem(request, program, now))

    async def ReversalPoints(self, request: pb.ReversalPointsRequest, context: Any) -> pb.ReversalPointsResponse:
        """Gives back what a redemption took."""
        program, now = await self.program()
        return await self.post(request, program, requests.reversal(request, now))

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
                return pb.GetRedemptionResponse(
                    status=pb.GetRedemptionResponse.REFUSED, refusal=wire.refusal(kept.body)
                )
            done = pb.RedeemPointsResponse.FromString(kept.body)
            return await self._redemption(tx, program_id, UUID(done.transaction_id))

    async def _redemption(self, tx: Tx, program_id: str, transaction_id: UUID) -> pb.GetRedemptionResponse:
        found = await store.find_redemption(tx, program_id, transaction_id)
        if found is None:
            return pb.GetRedemptionResponse(status=pb.GetRedemptionResponse.NOT_SEEN)
        account_id, entry = found
        member_id = await store.owner(tx, program_id, account_id)
        reversed_points = await store.reversed_so_far(tx, program_id, transaction_id)
        redemption = wire.redemption(entry, member_id, reversed_points)
        return pb.GetRedemptionResponse(status=pb.GetRedemptionResponse.DONE, redemption=redemption)
