"""A person's actions on redemptions: fenced against the workers, and each kept with the effect that it has."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from fulfillment_svc.redemptions import failpoints, rules
from fulfillment_svc.redemptions import store as redemptions
from fulfillment_svc.redemptions.saga import REQUEST_LEASE_S, Saga
from fulfillment_svc.redemptions.states import Answer
from fulfillment_svc.redemptions.store import Then
from fulfillment_svc.redemptions.values import Redemption, Reply
from fulfillment_svc.review import store
from fulfillment_svc.review.rules import REPLIES, Action, allowed
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused, invalid

_ISSUED: Final = frozenset({Answer.DONE, Answer.PART})


@dataclass(frozen=True, slots=True)
class Deed:
    """An action on a redemption or an order, with who takes it and on what evidence. `codes` are those of ISSUE, by the
    items' numbers, and `email` is the address of READDRESS."""

    action: Action
    program_id: str
    subject_id: UUID
    actor: str
    evidence: str
    codes: Mapping[int, str] = field(default_factory=dict, repr=False)
    email: str = field(default="", repr=False)


class Desk:
    """Takes actions. One that needs the provider's word is begun, and stored when that is there."""

    def __init__(self, db: Database, saga: Saga) -> None:
        self._db = db
        self._saga = saga

    async def begin(self, deed: Deed) -> tuple[Redemption, Reply]:
        """Claims the redemption, as no worker may have it meanwhile, and gives the reply that the action comes to.

        Raises ORDER_NOT_FOUND; CONFLICT if a worker has it, or if it is not, or turns out not to be, in need of this;
        INVALID_REQUEST for a code of no item.
        """

        async def work(tx: Tx) -> tuple[Redemption, Reply]:
            claimed = await redemptions.claim(tx, deed.program_id, deed.subject_id, REQUEST_LEASE_S)
            if claimed is None:
                raise store.NotThere
            if deed.action not in allowed(claimed):
                raise Refused(Reason.CONFLICT, "This cannot be done to the redemption as it is.")
            return claimed, _reply(deed, claimed)

        ours, reply = await self._db.transact(work)
        failpoints.reach("review.claimed")
        if deed.action is Action.REFUND:
            found = await self._saga.ask(ours)
            if found.answer in _ISSUED:
                await self._db.transact(lambda tx: self.store(tx, deed, ours, found))
                raise Refused(Reason.CONFLICT, "The provider has issued the order; it goes on as issued.")
            if found.answer is Answer.PENDING:
                raise Refused(Reason.CONFLICT, "The provider is still at the order, and may issue it.")
        return ours, reply

    async def store(self, tx: Tx, deed: Deed, ours: Redemption, reply: Reply) -> None:
        """Stores the reply with everything that it makes true, and the action. Raises LeaseLost."""
        after = ours if deed.action is Action.QUERY else rules.settle(ours, reply)
        then = Then(None if rules.ended(after) else 0.0, leased=False)
        await self._saga.store(tx, ours, after, reply, then)
        await store.insert_action(tx, after, deed.action, deed.actor, deed.evidence)


def _reply(deed: Deed, redemption: Redemption) -> Reply:
    if deed.action is not Action.ISSUE:
        return REPLIES[deed.action]
    quantity = redemption.choice.quantity
    if any(number > quantity for number in deed.codes):
        raise invalid(items=f"there are {quantity} items")
    codes = [deed.codes.get(number) for number in range(1, quantity + 1)]
    return Reply.issued(codes, "ISSUED_BY_OPERATOR")
