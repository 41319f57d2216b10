"""Calling an order off: from the answer on nothing more can be claimed of it."""

from dataclasses import replace
from uuid import UUID

from rewards.fulfillment.v1 import orders_pb2 as pb

from fulfillment_svc.orders import rules, store, wire
from fulfillment_svc.orders.states import CLAIMABLE, State
from svckit.db import Tx
from svckit.errors import Reason, Refused


async def cancel(tx: Tx, program_id: str, order_id: UUID) -> pb.CancelOrderResponse:
    """Closes an order; a worker gives back what is left once no claim is under way. Raises ORDER_NOT_FOUND,
    NOT_CANCELLABLE, CONFLICT."""
    found = await store.lock(tx, program_id, order_id)
    if found is None:
        raise Refused(Reason.ORDER_NOT_FOUND, "There is no such order.")
    if not rules.decided(found):
        raise Refused(Reason.CONFLICT, "It is not decided yet whether the value can be held.")
    if found.state not in CLAIMABLE or not found.remaining_minor:
        raise Refused(Reason.NOT_CANCELLABLE, "Nothing is left of this order that could be called off.")
    closed = replace(found, state=State.CANCELLING, reason="")
    await store.change(tx, found, closed, due=True)
    claims = await store.claims(tx, program_id, [order_id])
    return pb.CancelOrderResponse(order=wire.order(closed, claims[order_id]))
