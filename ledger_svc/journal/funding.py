"""A program's prepaid funding."""

from typing import Any

from rewards.ledger.v1 import funding_pb2 as pb
from rewards.ledger.v1.funding_pb2_grpc import FundingServiceServicer

from ledger_svc.journal import replies, store, wire
from ledger_svc.journal.postings import Credit
from ledger_svc.journal.requests import Asked
from ledger_svc.journal.values import Category, Kind
from ledger_svc.parts import Rpcs
from svckit import call, money
from svckit.errors import Reason, Refused


class FundingServicer(Rpcs, FundingServiceServicer):
    """Deposits and balances."""

    async def GetFunding(self, request: pb.GetFundingRequest, context: Any) -> pb.GetFundingResponse:
        """Reads the balance of each currency."""
        async with self.db.read() as tx:
            found = await store.funding(tx, call.current().program_id)
        return pb.GetFundingResponse(
            balances=[
                pb.FundingBalance(
                    currency=currency,
                    balance=money.major(posted, currency),
                    reserved=money.major(held, currency),
                    available=money.major(posted - held, currency),
                )
                for currency, posted, held in found
            ]
        )

    async def CreateDeposit(self, request: pb.CreateDepositRequest, context: Any) -> pb.CreateDepositResponse:
        """Puts sandbox money in."""
        program, now = await self.program()
        if not program.sandbox:
            raise Refused(Reason.PERMISSION_DENIED, "A live program is funded by bank transfer.")
        currency = request.currency or program.currency
        amount_minor = money.minor(request.amount, currency, "amount")
        key = wire.funding_key(program.program_id, currency)
        deposit = Credit(key, now, amount_minor, Category.PURCHASED, Kind.FUND)
        asked = Asked(
            "CreateDeposit", deposit, pb.CreateDepositResponse, lambda posted: replies.deposited(posted, currency)
        )
        return await self.post(request, program, asked)
