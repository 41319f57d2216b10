"""Credits, redemptions and their reversals, as partners call them."""

from typing import Any
from uuid import UUID

from google.rpc.status_pb2 import Status
from rewards.ledger.v1 import points_pb2 as pb

from ledger_svc.journal import rules, store, wire
from ledger_svc.journal.account import Account, Category, Draft, Entry, Kind
from ledger_svc.parts import Rpcs
from ledger_svc.tables import outbox
from svckit import call
from svckit.clock import new_id
from svckit.db import Tx
from svckit.errors import Reason, from_status
from svckit.idempotency import Claim, State
from svckit.outbox import Draft as Event


async def tell(tx: Tx, event_type: str, account: Account, entry: Entry, points: int) -> None:
    """Puts a posting's event into the outbox."""
    data = {"transactionId": str(entry.transaction_id), "points": points, "balance": account.posted}
    await outbox.append(tx, Event(account.key.program_id, event_type, account.key.owner, entry.recorded_at, data))


class RedemptionRpcs(Rpcs):
    """The PointsService RPCs that credit, redeem, reverse, and tell what became of a redemption."""

    async def CreateCredit(self, request: pb.CreateCreditRequest, context: Any) -> pb.CreateCreditResponse:
        """Gives a member points outright."""

        async def work(tx: Tx) -> pb.CreateCreditResponse:
            program, now = await self.program(tx)
            expires_at = wire.future_expiry(request.expires_at, program.zone, now, "expiresAt")
            await store.require_active(tx, program.program_id, request.member_id)
            account = await store.lock(tx, wire.member_key(program, request.member_id, request.asset), now)
            category = Category(request.category or Category.BONUS)
            draft = Draft(new_id(), Kind.EARN, category, now, reason=request.reason)
            entry = account.credit(draft, request.points, expires_at)
            await store.write(tx, account)
            await tell(tx, "points.earned", account, entry, request.points)
            return pb.CreateCreditResponse(transaction_id=str(entry.transaction_id), balance=account.posted)

        return await self.idempotency.once(request, pb.CreateCreditResponse, work)

    async def RedeemPoints(self, request: pb.RedeemPointsRequest, context: Any) -> pb.RedeemPointsResponse:
        """Debits a member's points, all of them or none."""

        async def work(tx: Tx) -> pb.RedeemPointsResponse:
            program, now = await self.program(tx)
            amount = request.amount if request.HasField("amount") else None
            rules.check_worth(program, request.points, amount, request.currency)
            await store.require_active(tx, program.program_id, request.member_id)
            account = await store.lock(tx, wire.member_key(program, request.member_id, request.asset), now)
            entry = account.debit(
                Draft(new_id(), Kind.REDEEM, Category.REDEEM, now, reason=request.reason), request.points
            )
            await store.write(tx, account)
            await tell(tx, "points.redeemed", account, entry, request.points)
            return pb.RedeemPointsResponse(
                transaction_id=str(entry.transaction_id), points_redeemed=request.points, balance=account.posted
            )

        return await self.idempotency.once(request, pb.RedeemPointsResponse, work)

    async def ReversalPoints(self, request: pb.ReversalPointsRequest, context: Any) -> pb.ReversalPointsResponse:
        """Gives back what a redemption took."""
        asked = request.points if request.HasField("points") else None

        async def work(tx: Tx) -> pb.ReversalPointsResponse:
            return await self._reverse(tx, wire.uuid(request.transaction_id, "transactionId"), asked)

        return await self.idempotency.once(request, pb.ReversalPointsResponse, work)

    async def _reverse(self, tx: Tx, original_id: UUID, asked: int | None) -> pb.ReversalPointsResponse:
        program, now = await self.program(tx)
        found = await store.find_entry(tx, program.program_id, original_id)
        if found is None:
            raise wire.transaction_not_found()
        account_id, original = found
        uses = await store.read_uses(tx, program.program_id, original_id)
        lots = [use.lot_id for use in uses]
        account = await store.lock_by_id(tx, program.program_id, account_id, now, lots)
        so_far = await store.reversed_so_far(tx, program.program_id, original_id)
        amount = rules.reversal_amount(original, so_far, asked)
        left = await store.left_to_reverse(tx, program.program_id, original_id)
        draft = Draft(new_id(), Kind.REVERSE, Category.REDEEM, now, reverses=original_id)
        entry, expired = account.reverse(draft, left, amount)
        await store.write(tx, account)
        await store.add_reversal(tx, program.program_id, original_id, -original.amount, amount)
        await tell(tx, "points.reversed", account, entry, amount)
        return pb.ReversalPointsResponse(
            reversal_id=str(entry.transaction_id),
            restored=amount - expired,
            expired=expired,
            balance=account.posted,
        )

    async def GetRedemption(self, request: pb.GetRedemptionRequest, context: Any) -> pb.GetRedemptionResponse:
        """Tells what became of a redemption, by its transaction or its key."""
        program_id = call.current().program_id
        async with self.db.read() as tx:
            if request.WhichOneof("redemption") == "transaction_id":
                return await self._redemption(tx, program_id, wire.uuid(request.transaction_id, "transactionId"))
            kept = await self.idempotency.find(tx, Claim(program_id, "RedeemPoints", request.idempotency_key, b""))
            if kept is None:
                return pb.GetRedemptionResponse(status=pb.GetRedemptionResponse.NOT_SEEN)
            if kept.state is State.IN_PROGRESS:
                return pb.GetRedemptionResponse(status=pb.GetRedemptionResponse.IN_PROGRESS)
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
