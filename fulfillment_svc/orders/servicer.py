"""The partners' RPCs of orders."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from rewards.fulfillment.v1 import orders_pb2 as pb
from rewards.fulfillment.v1.orders_pb2_grpc import OrdersServiceServicer

from fulfillment_svc.orders import rules, store, wire
from fulfillment_svc.orders.cancelling import cancel
from fulfillment_svc.orders.intake import Intake
from fulfillment_svc.orders.invitations import Invitations
from fulfillment_svc.orders.saga import Saga
from fulfillment_svc.orders.values import Order
from fulfillment_svc.redemptions.revealing import Revealing
from fulfillment_svc.redemptions.values import Redemption
from fulfillment_svc.redemptions.wire import redemption_id as id_of
from fulfillment_svc.requests import check
from fulfillment_svc.tables import programs
from svckit import call, idempotency, paging
from svckit.clock import Clock
from svckit.db import Database
from svckit.errors import Reason, Refused, invalid
from svckit.idempotency import Idempotency, Outcome


class Desks(NamedTuple):
    """Who does what a call asks for."""

    intake: Intake
    saga: Saga
    invitations: Invitations
    revealing: Revealing


class OrdersServicer(OrdersServiceServicer):
    """Takes orders in and shows them. `wake` tells the workers that one waits for them."""

    def __init__(
        self, db: Database, idempotent: Idempotency, desks: Desks, wake: Callable[[], None], clock: Clock
    ) -> None:
        self._db = db
        self._idempotency = idempotent
        self._intake, self._saga, self._invitations, self._revealing = desks
        self._wake = wake
        self._clock = clock

    async def CreateOrder(self, request: pb.CreateOrderRequest, context: Any) -> pb.CreateOrderResponse:
        """Holds the value and answers; the workers carry on from there."""
        claim = self._idempotency.claim(request)
        taken = await self._intake.take_in(claim, request)
        if isinstance(taken, Outcome):
            return await self._linked(idempotency.replay(taken, claim, pb.CreateOrderResponse))
        order = await self._saga.carry(taken)
        check("order", order.refusal, decided=rules.decided(order))
        self._wake()
        return await self._linked(pb.CreateOrderResponse(order=wire.order(order, [])))

    async def GetOrder(self, request: pb.GetOrderRequest, context: Any) -> pb.GetOrderResponse:
        """Reads an order."""
        return pb.GetOrderResponse(order=wire.order(*await self._found(request.order_id)))

    async def ListOrders(self, request: pb.ListOrdersRequest, context: Any) -> pb.ListOrdersResponse:
        """Lists orders, newest first."""
        size, place, program_id = paging.size(request.page_size), paging.place(request, 1), call.current().program_id
        after = id_of(place[0]) if place else None
        if place and after is None:
            raise invalid(pageToken="is not a token of this list")
        async with self._db.read() as tx:
            await store.snapshot(tx)
            found = await store.page(tx, program_id, after, size + 1)
            shown = found[:size]
            claims = await store.claims(tx, program_id, [one.order_id for one in shown])
        return pb.ListOrdersResponse(
            orders=[wire.order(one, claims[one.order_id]) for one in shown],
            next_page_token=paging.token(request, str(shown[-1].order_id)) if len(found) > size else "",
        )

    async def CancelOrder(self, request: pb.CancelOrderRequest, context: Any) -> pb.CancelOrderResponse:
        """Closes an order; the workers give back what is left."""
        work = partial(cancel, program_id=call.current().program_id, order_id=_id(request.order_id))
        answer = await self._idempotency.once(request, pb.CancelOrderResponse, work)
        self._wake()
        return answer

    async def RevealOrder(self, request: pb.RevealOrderRequest, context: Any) -> pb.RevealOrderResponse:
        """Shows the codes of what was claimed."""
        caller = call.current()
        caller.reply_headers["cache-control"] = "no-store"
        _, claims = await self._found(request.order_id)
        shown = []
        for claim in claims:
            if claim.units[0].issued:
                codes = await self._revealing.reveal(claim.program_id, claim.redemption_id, caller.principal.name)
                shown += [pb.RevealedClaim(claim_id=str(claim.redemption_id), code=(codes or {}).get(1, ""))]
        return pb.RevealOrderResponse(claims=shown)

    async def _found(self, sent: str) -> tuple[Order, list[Redemption]]:
        """The order with its claims, as of one instant. Raises ORDER_NOT_FOUND."""
        program_id, order_id = call.current().program_id, _id(sent)
        async with self._db.read() as tx:
            await store.snapshot(tx)
            found, claims = await store.find(tx, program_id, order_id), await store.claims(tx, program_id, [order_id])
        if found is None:
            raise _not_found()
        return found, claims[order_id]

    async def _linked(self, answer: pb.CreateOrderResponse) -> pb.CreateOrderResponse:
        """The answer with the order's link, which is kept nowhere but sealed (G53); none if nothing can be claimed."""
        program_id, order_id = call.current().program_id, UUID(answer.order.order_id)
        async with self._db.read() as tx:
            program = await programs.get(tx, program_id)
            links = await self._invitations.links(tx, program_id, [order_id], program.now(self._clock))
        answer.order.redemption_url = links.get(order_id, "")
        return answer


def _id(sent: str) -> UUID:
    found = id_of(sent)
    if found is None:
        raise _not_found()
    return found


def _not_found() -> Refused:
    return Refused(Reason.ORDER_NOT_FOUND, "There is no such order.")
