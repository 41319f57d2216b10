"""Calling an order off: from the answer on nothing more can be claimed of it."""

from typing import Final
from uuid import UUID

from rewards.fulfillment.v1 import orders_pb2 as pb

from fulfillment_svc.orders import rules, store, wire
from fulfillment_svc.orders.states import CLAIMABLE
from fulfillment_svc.redemptions.states import Answer
from fulfillment_svc.redemptions.values import Reply
from svckit.db import Tx
from svckit.errors import Reason, Refused

_CALLED_OFF: Final = Reply(Answer.CALLED_OFF)


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
    closed = rules.settle(found, _CALLED_OFF)
    await store.change(tx, found, closed, due=True)
    claims = await store.claims(tx, program_id, [order_id])
    return pb.CancelOrderResponse(order=wire.order(closed, claims[order_id]))
