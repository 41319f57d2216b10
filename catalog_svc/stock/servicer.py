"""The stock's RPCs. Each decides under the lock of one stock."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from rewards.catalog.v1 import stock_pb2 as pb
from rewards.catalog.v1.stock_pb2_grpc import StockServiceServicer

from catalog_svc import rules as rewards
from catalog_svc import store as catalog_store
from catalog_svc.kept import Standings
from catalog_svc.stock import rules, store, wire
from catalog_svc.stock.rules import Reservation, State, Stock
from svckit.clock import Clock
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused
from svckit.programs import Programs

SWEPT_AT_ONCE: Final = 100

Settle = Callable[[Stock, Reservation], tuple[Stock, Reservation]]


class StockServicer(StockServiceServicer):
    """Reservations by reference, and the sweep of those whose time has run out."""

    def __init__(self, db: Database, programs: Programs, standings: Standings, clock: Clock) -> None:
        self._db = db
        self._programs = programs
        self._standings = standings
        self._clock = clock

    async def SetStock(self, request: pb.SetStockRequest, context: Any) -> pb.SetStockResponse:
        """Says how many units there are."""
        program_id, reward_id = request.program_id, request.reward_id

        async def work(tx: Tx) -> Stock:
            before = await store.lock(tx, program_id, reward_id, await self._now(tx, program_id))
            if before is None and await catalog_store.find(tx, program_id, reward_id) is None:
                raise Refused(Reason.REWARD_NOT_FOUND, "There is no such reward.")
            units = request.units if request.HasField("units") else None
            after = Stock(units, 0 if before is None else before.reserved)
            await store.save(tx, program_id, reward_id, before, after)
            return after

        return pb.SetStockResponse(units_left=(await self._standings.change(program_id, work)).left or 0)

    async def ReserveStock(self, request: pb.ReserveStockRequest, context: Any) -> pb.ReserveStockResponse:
        """Puts units by, or finds what this reference has put by."""
        program_id = request.program_id

        async def work(tx: Tx) -> Reservation | None:
            now = await self._now(tx, program_id)
            before = await store.lock(tx, program_id, request.reward_id, now)
            known = await store.find(tx, program_id, request.reference)
            if known is not None and (known.reward_id, known.quantity) != (request.reward_id, request.quantity):
                raise Refused(Reason.IDEMPOTENCY_KEY_REUSED, "This reference was used for something else.")
            if known is not None and known.state is not State.EXPIRED:
                return known
            await _check_available(tx, request)
            if before is None or before.units is None:
                return None
            until = now + timedelta(seconds=request.ttl_s) if request.ttl_s else None
            made = Reservation(request.reference, request.reward_id, request.quantity, State.RESERVED, until)
            await store.save(tx, program_id, request.reward_id, before, before.take(request.quantity))
            await store.keep(tx, program_id, made)
            return made

        made = await self._standings.change(program_id, work)
        return pb.ReserveStockResponse(reservation=None if made is None else wire.message(made))

    async def ConsumeStock(self, request: pb.ConsumeStockRequest, context: Any) -> pb.ConsumeStockResponse:
        """Takes reserved units out of the stock for good."""

        def consume(stock: Stock, reserved: Reservation) -> tuple[Stock, Reservation]:
            return rules.consume(stock, reserved, request.quantity or reserved.quantity)

        settled = await self._settle(request.program_id, request.reference, consume)
        return pb.ConsumeStockResponse(reservation=wire.message(settled))

    async def ReleaseStock(self, request: pb.ReleaseStockRequest, context: Any) -> pb.ReleaseStockResponse:
        """Gives reserved units back."""
        settled = await self._settle(request.program_id, request.reference, rules.release)
        return pb.ReleaseStockResponse(reservation=wire.message(settled))

    async def _settle(self, program_id: str, reference: str, settle: Settle) -> Reservation:
        async def work(tx: Tx) -> Reservation:
            of = await _known(tx, program_id, reference)
            before = await store.lock(tx, program_id, of.reward_id, await self._now(tx, program_id))
            if before is None:
                raise AssertionError("a reservation is of a stock")
            # Read again: only under the lock it stays as it is.
            after, settled = settle(before, await _known(tx, program_id, reference))
            await store.save(tx, program_id, of.reward_id, before, after)
            await store.keep(tx, program_id, settled)
            return settled

        return await self._standings.change(program_id, work)

    async def sweep(self) -> int:
        """A worker's step: gives back what was reserved until now; of how many rewards."""
        async with self._db.read() as tx:
            names = await self._programs.ids(tx)
            due = [
                (name, reward_id)
                for name in names
                for reward_id in await store.lapsed(tx, name, await self._now(tx, name), SWEPT_AT_ONCE)
            ]
        for program_id, reward_id in due:

            async def work(tx: Tx, program_id: str = program_id, reward_id: str = reward_id) -> None:
                await store.lock(tx, program_id, reward_id, await self._now(tx, program_id))

            await self._standings.change(program_id, work)
        return len(due)

    async def _now(self, tx: Tx, program_id: str) -> datetime:
        return (await self._programs.get(tx, program_id)).now(self._clock)


async def _check_available(tx: Tx, request: pb.ReserveStockRequest) -> None:
    reward = await catalog_store.find(tx, request.program_id, request.reward_id)
    if reward is None:
        raise Refused(Reason.REWARD_NOT_FOUND, "There is no such reward.")
    rewards.check_available(reward, request.quantity)


async def _known(tx: Tx, program_id: str, reference: str) -> Reservation:
    found = await store.find(tx, program_id, reference)
    if found is None:
        raise Refused(Reason.NOT_FOUND, "There is no reservation of this reference.")
    return found
