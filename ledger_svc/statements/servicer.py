"""Reading balances and histories. What is read is one snapshot; expiry counts from its instant (G3)."""

from typing import Any

from rewards.ledger.v1 import points_pb2 as pb

from ledger_svc.journal import store as journal
from ledger_svc.journal import wire
from ledger_svc.parts import Rpcs
from ledger_svc.statements import store
from svckit import paging


class StatementRpcs(Rpcs):
    """The PointsService RPCs that read."""

    async def GetBalance(self, request: pb.GetBalanceRequest, context: Any) -> pb.GetBalanceResponse:
        """Reads a member's balance as it is now."""
        program, now = await self.program()
        async with self.db.read() as tx:
            await journal.member_active(tx, program.program_id, request.member_id)
            account = await journal.read(tx, wire.member_key(program, request.member_id, request.asset))
        return pb.GetBalanceResponse(
            balance=account.balance(now),
            available=account.available(now),
            held=account.held,
            as_of=wire.timestamp(now),
        )

    async def CheckAvailability(
        self, request: pb.CheckAvailabilityRequest, context: Any
    ) -> pb.CheckAvailabilityResponse:
        """Says whether RedeemPoints of so many would succeed now."""
        program, now = await self.program()
        async with self.db.read() as tx:
            active = await journal.member_active(tx, program.program_id, request.member_id)
            account = await journal.read(tx, wire.member_key(program, request.member_id, request.asset))
        available = account.available(now)
        return pb.CheckAvailabilityResponse(
            available=active and request.points <= available,
            balance=account.balance(now),
            available_points=available,
        )

    async def GetTransactionHistory(
        self, request: pb.GetTransactionHistoryRequest, context: Any
    ) -> pb.GetTransactionHistoryResponse:
        """Reads a member's transactions, newest first."""
        period = wire.period(request)
        place = paging.place(request, 1)
        before = wire.version(place[0]) if place else None
        size = paging.size(request.page_size)
        program, _ = await self.program()
        async with self.db.read() as tx:
            await journal.member_active(tx, program.program_id, request.member_id)
            key = wire.member_key(program, request.member_id, request.asset)
            found = await store.history(tx, key, period, list(request.kinds), before, size + 1)
        page = found[:size]
        more = len(found) > size
        return pb.GetTransactionHistoryResponse(
            transactions=[wire.transaction(entry) for entry in page],
            next_page_token=paging.token(request, str(page[-1].version)) if more else "",
        )
