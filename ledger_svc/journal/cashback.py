"""Cashback: money that fulfillment_svc credits to members."""

from typing import Any

from rewards.ledger.v1 import cashback_pb2 as pb
from rewards.ledger.v1.cashback_pb2_grpc import CashbackServiceServicer

from ledger_svc.journal import replies, wire
from ledger_svc.journal.book import Posting
from ledger_svc.journal.postings import Credit, or_refusal
from ledger_svc.journal.requests import Asked
from ledger_svc.journal.values import Category, Kind
from ledger_svc.parts import Rpcs
from svckit.idempotency import Claim, State

_PAY = "PayCashback"


class CashbackServicer(Rpcs, CashbackServiceServicer):
    """Money for members."""

    async def PayCashback(self, request: pb.PayCashbackRequest, context: Any) -> pb.PayCashbackResponse:
        """Credits a member's account in a currency. It is money that was paid in, not points that were earned: no rule
        of the program lets it run out, and nobody claws it back."""
        program, now = await self.program(request.program_id)

        def paid() -> Posting:
            key = wire.member_key(program, request.member_id, request.currency)
            return Credit(key, now, request.amount_minor, Category.PURCHASED, Kind.FUND, reason="cashback")

        return await self.post(request, program, Asked(_PAY, or_refusal(paid), pb.PayCashbackResponse, replies.paid))

    async def GetCashback(self, request: pb.GetCashbackRequest, context: Any) -> pb.GetCashbackResponse:
        """What is kept of a key's first PayCashback, which is in the same transaction as its effect."""
        async with self.db.read() as tx:
            kept = await self.idempotency.find(tx, Claim(request.program_id, _PAY, request.idempotency_key, b""))
        if kept is None:
            return pb.GetCashbackResponse()
        if kept.state is State.REFUSED:
            return pb.GetCashbackResponse(refusal=wire.refusal(kept.body))
        return pb.GetCashbackResponse(paid=pb.PayCashbackResponse.FromString(kept.body))
