"""A program's prepaid funding."""

from typing import Any

from rewards.ledger.v1 import funding_pb2 as pb

from ledger_svc.journal import replies, store, wire
from ledger_svc.journal.postings import Credit, SetAlarm
from ledger_svc.journal.requests import Asked
from ledger_svc.journal.values import Category, Kind
from ledger_svc.parts import Rpcs
from svckit import call, money
from svckit.db import Tx
from svckit.errors import Reason, Refused


class FundingRpcs(Rpcs):
    """The FundingService RPCs of deposits, balances, and when they are low."""

    async def GetFunding(self, request: pb.GetFundingRequest, context: Any) -> pb.GetFundingResponse:
        """Reads the balance of each currency."""
        async with self.db.read() as tx:
            found = await store.funding(tx, call.current().program_id)
        return pb.GetFundingResponse(balances=map(_balance, found))

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

    async def PutLowBalance(self, request: pb.PutLowBalanceRequest, context: Any) -> pb.PutLowBalanceResponse:
        """Sets when a currency's funding is low."""
        program, now = await self.program()
        currency = request.currency or program.currency
        threshold = money.minor(request.threshold, currency, "threshold")
        alarm = SetAlarm(wire.funding_key(program.program_id, currency), now, threshold)

        async def work(tx: Tx) -> pb.PutLowBalanceResponse:
            await self.journal.post_in(tx, program.program_id, alarm)
            [stands] = await store.funding(tx, program.program_id, currency)
            return pb.PutLowBalanceResponse(funding=_balance(stands))

        return await self.idempotency.once(request, pb.PutLowBalanceResponse, work)


def _balance(of: store.Funding) -> pb.FundingBalance:
    return pb.FundingBalance(
        currency=of.currency,
        balance=money.major(of.posted, of.currency),
        reserved=money.major(of.held, of.currency),
        available=money.major(of.posted - of.held, of.currency),
        low_threshold=money.major(of.threshold, of.currency),
        low=of.low,
    )
