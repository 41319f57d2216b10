"""A person's actions on orders. They do not wait for a worker: a mail that it has sent, or a hold that it has voided,
contradicts none of them, and it can store nothing any more."""

from typing import Final

from fulfillment_svc.orders import store as orders
from fulfillment_svc.orders.invitations import Invitations
from fulfillment_svc.orders.saga import Saga
from fulfillment_svc.redemptions.rules import REFUNDED_BY_OPERATOR
from fulfillment_svc.redemptions.states import Answer
from fulfillment_svc.redemptions.values import Reply
from fulfillment_svc.review import store
from fulfillment_svc.review.desk import Deed
from fulfillment_svc.review.rules import REPLIES, Action, allowed
from svckit.db import Tx
from svckit.errors import Reason, Refused

_REPLIES: Final = {
    Action.RELEASE: REPLIES[Action.RELEASE],
    # What is not claimed is called off, whatever may have been claimed.
    Action.REFUND: Reply(Answer.CALLED_OFF, REFUNDED_BY_OPERATOR),
}


class OrderDesk:
    """Takes actions on orders, which go on in `saga`."""

    def __init__(self, saga: Saga, invitations: Invitations) -> None:
        self._saga = saga
        self._invitations = invitations

    async def act(self, tx: Tx, deed: Deed) -> None:
        """Does it and keeps it, in one transaction. Raises ORDER_NOT_FOUND, RECIPIENT_INVALID; CONFLICT if the order is
        not in need of this."""
        found = await orders.lock(tx, deed.program_id, deed.subject_id)
        if found is None:
            raise store.NotThere
        if deed.action not in allowed(found):
            raise Refused(Reason.CONFLICT, "This cannot be done to the order as it is.")
        ours = await orders.overtake(tx, found)
        await store.insert_order_action(tx, ours, deed.action, deed.actor, deed.evidence)
        if deed.action is Action.READDRESS:
            await self._invitations.readdress(tx, ours, deed.email)
        if reply := _REPLIES.get(deed.action):
            await self._saga.store(tx, ours, reply, then_s=0.0)
        else:
            await orders.change(tx, ours, ours, due=True)
