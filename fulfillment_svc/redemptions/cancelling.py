"""Calling a redemption off, which is possible only as long as no provider knows of it."""

from dataclasses import replace
from uuid import UUID

from fulfillment_svc.redemptions import failpoints, rules, store
from fulfillment_svc.redemptions.saga import REQUEST_LEASE_S, Saga
from fulfillment_svc.redemptions.states import EDGES, Answer
from fulfillment_svc.redemptions.store import Then
from fulfillment_svc.redemptions.values import Redemption, Reply
from svckit import idempotency
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused
from svckit.idempotency import Claim, Idempotency, Outcome

_CALLED_OFF = Reply(Answer.CALLED_OFF, "CANCELLED")


class Cancelling:
    """Takes requests to call off, each key once."""

    def __init__(self, db: Database, idempotent: Idempotency, saga: Saga) -> None:
        self._db = db
        self._idempotency = idempotent
        self._saga = saga

    async def take_in(self, claim: Claim, redemption_id: UUID, member_id: str) -> Redemption | Outcome:
        """The redemption, called off and claimed for this request; or what is kept under its key already.

        A worker that is about to order is overtaken: what it stores before it sends fails. One that has stored it
        was faster. Raises ORDER_NOT_FOUND, also where it is not `member_id`'s; NOT_CANCELLABLE; CONFLICT.
        """
        running = Outcome(claim.fingerprint, idempotency.State.IN_PROGRESS, b"")

        async def work(tx: Tx) -> Redemption | Outcome:
            if (kept := await self._idempotency.find(tx, claim)) is not None:
                return kept
            found = await store.lock(tx, claim.program_id, redemption_id)
            if found is None or member_id not in ("", found.member_id):
                raise Refused(Reason.ORDER_NOT_FOUND, "There is no such redemption.")
            _check(found)
            if not await self._idempotency.record(tx, claim, running):
                return await self._idempotency.find(tx, claim) or running
            ours = replace(await store.overtake(tx, found), cancel_key=claim.key)
            off = rules.settle(ours, _CALLED_OFF)
            await self._saga.store(tx, ours, off, _CALLED_OFF, Then(REQUEST_LEASE_S, leased=True))
            return off

        failpoints.reach("cancel.before")
        taken = await self._db.transact(work)
        failpoints.reach("cancel.after")
        return taken


def _check(found: Redemption) -> None:
    if not rules.decided(found):
        raise Refused(Reason.CONFLICT, "It is not decided yet whether the value can be held.")
    if found.order_id is not None or (found.state, Answer.CALLED_OFF) not in EDGES:
        raise Refused(Reason.NOT_CANCELLABLE, "The provider may know of this redemption, or it has ended.")
