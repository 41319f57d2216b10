"""Reading balances, statements and histories. What is read is one snapshot; expiry counts from its instant (G3)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from rewards.ledger.v1 import points_pb2 as pb

from ledger_svc.journal import store as journal
from ledger_svc.journal.values import Key
from ledger_svc.journal.wire import member_key, timestamp, transaction
from ledger_svc.parts import Rpcs
from ledger_svc.statements import rules, store, wire
from svckit import paging
from svckit.db import Tx
from svckit.programs import Program


class StatementRpcs(Rpcs):
    """The PointsService RPCs that read."""

    async def GetBalance(self, request: pb.GetBalanceRequest, context: Any) -> pb.GetBalanceResponse:
        """Reads a member's balance as it is now, or as it was."""
        program, now = await self.program()
        as_of = wire.as_of(request, now)
        async with self._member(program, request.member_id, request.asset) as (tx, key, _):
            if as_of is None:
                found = await store.standing(tx, key, now)
            else:
                found = await store.standing_as_of(tx, key, as_of)
        return pb.GetBalanceResponse(
            balance=found.balance, available=found.available, held=found.held, as_of=timestamp(as_of or now)
        )

    async def CheckAvailability(
        self, request: pb.CheckAvailabilityRequest, context: Any
    ) -> pb.CheckAvailabilityResponse:
        """Says whether RedeemPoints of so many would succeed now."""
        program, now = await self.program()
        async with self._member(program, request.member_id, request.asset) as (tx, key, active):
            found = await store.standing(tx, key, now)
        return pb.CheckAvailabilityResponse(
            available=active and request.points <= found.available,
            balance=found.balance,
            available_points=found.available,
        )

    async def GetStatementSummary(
        self, request: pb.GetStatementSummaryRequest, context: Any
    ) -> pb.GetStatementSummaryResponse:
        """Sums up a period."""
        period = wire.period(request)
        program, _ = await self.program()
        async with self._member(program, request.member_id, request.asset) as (tx, key, _):
            found = await store.statement(tx, key, period)
        return wire.summary(found.opening, rules.lines(found.movements), found.closing)

    async def GetStatementByCategory(
        self, request: pb.GetStatementByCategoryRequest, context: Any
    ) -> pb.GetStatementByCategoryResponse:
        """Sums up a period by category."""
        period = wire.period(request)
        program, _ = await self.program()
        async with self._member(program, request.member_id, request.asset) as (tx, key, _):
            found = await store.statement(tx, key, period)
        return wire.by_category(rules.categories(found.movements))

    async def GetExpirySchedule(
        self, request: pb.GetExpiryScheduleRequest, context: Any
    ) -> pb.GetExpiryScheduleResponse:
        """Says which points run out when."""
        program, now = await self.program()
        async with self._member(program, request.member_id, request.asset) as (tx, key, _):
            return wire.schedule(await store.expiry_schedule(tx, key, now))

    async def GetLots(self, request: pb.GetLotsRequest, context: Any) -> pb.GetLotsResponse:
        """Reads a member's lots in burn order, as they are now or were."""
        program, now = await self.program()
        as_of, size, after = wire.as_of(request, now), paging.size(request.page_size), wire.lot_place(request)
        async with self._member(program, request.member_id, request.asset) as (tx, key, _):
            # Not as of now: what a clock a little ahead of ours has recorded is there all the same.
            known = await store.lots_as_of(tx, key, as_of or wire.LAST)
        found = [lot for lot in known if not lot.expired(as_of or now) and (after is None or lot.order() > after)]
        page, more = found[:size], len(found) > size
        token = paging.token(request, *wire.place_of(page[-1])) if more else ""
        return pb.GetLotsResponse(lots=map(wire.lot, page), next_page_token=token)

    async def GetTransactionHistory(
        self, request: pb.GetTransactionHistoryRequest, context: Any
    ) -> pb.GetTransactionHistoryResponse:
        """Reads a member's transactions, newest first."""
        period = wire.period(request)
        if place := paging.place(request, 1):
            period = period.before(wire.place(place[0]))
        size = paging.size(request.page_size)
        program, _ = await self.program()
        async with self._member(program, request.member_id, request.asset) as (tx, key, _):
            found = await store.history(tx, key, period, list(request.kinds), size + 1)
        page = found[:size]
        more = len(found) > size
        return pb.GetTransactionHistoryResponse(
            transactions=[transaction(entry) for entry in page],
            next_page_token=paging.token(request, page[-1].recorded_at.isoformat()) if more else "",
        )

    @asynccontextmanager
    async def _member(self, program: Program, member_id: str, asset: str) -> AsyncIterator[tuple[Tx, Key, bool]]:
        """A connection to read from, the account of the member or of whom he was merged into, and whether that one may
        earn and redeem.

        Raises INVALID_REQUEST for an asset the program does not have, MEMBER_NOT_FOUND also for another program's.
        """
        key = member_key(program, member_id, asset)
        async with self.db.read() as tx:
            counting = await journal.counting(tx, program.program_id, member_id)
            yield tx, key._replace(owner=counting.member_id), counting.active
