"""The orders' side of their claims: value leaves the hold when a claim is captured, and comes back when it fails."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING
from uuid import UUID

from rewards.fulfillment.v1.webhooks_pb2 import Event
from rewards.ledger.v1.journal_pb2 import CaptureHoldRequest

from fulfillment_svc.orders import rules, store, wire
from fulfillment_svc.orders.states import CLOSING
from fulfillment_svc.orders.values import Order
from fulfillment_svc.redemptions import rules as of_claims
from fulfillment_svc.redemptions import states
from fulfillment_svc.redemptions.states import Answer, Status
from fulfillment_svc.redemptions.values import Paid, Redemption, Reply
from fulfillment_svc.tables import programs
from svckit.clients import invoke
from svckit.clock import Clock
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused, internal

if TYPE_CHECKING:
    from rewards.ledger.v1.journal_pb2_grpc import JournalServiceAsyncStub


class Purses:
    """Pays claims from their orders."""

    def __init__(self, db: Database, journal: "JournalServiceAsyncStub", clock: Clock) -> None:
        self._db = db
        self._journal = journal
        self._clock = clock

    async def capture(self, claim: Redemption) -> Reply:
        """Captures a claim's value and its part of the fee from its order's hold; the reply's hold is that of the rest.

        The hold changes with each capture, and what is captured of the order with it, so the key names it, and the part
        of the fee is the same for it. Where another claim of the order has captured and not stored yet what is left,
        the hold that is known here is gone: nothing happened, and the step is taken again.
        """
        async with self._db.read() as tx:
            order = await store.find(tx, claim.program_id, _of(claim))
        if order is None or order.hold_id is None:
            raise internal()
        paid = Paid(order.hold_id, rules.fee_minor(order, claim))
        request = CaptureHoldRequest(
            program_id=claim.program_id,
            hold_id=str(paid.hold_id),
            amount=claim.issued_minor + paid.fees_minor,
            fee=paid.fees_minor,
            keep_rest=True,
        )
        key = f"{claim.redemption_id}:{states.Step.CAPTURE_FUNDING}:{order.hold_id}"
        try:
            captured = await invoke(self._journal.CaptureHold, request, key=key)
        except Refused as refusal:
            if refusal.reason != Reason.HOLD_NOT_ACTIVE:
                raise
            return Reply(Answer.UNKNOWN, "HOLD_MOVED")
        rest = UUID(captured.rest_hold_id) if captured.rest_hold_id else None
        return Reply(Answer.DONE, hold_id=rest, booked_at=captured.recorded_at.ToDatetime(UTC), paid=paid)

    async def settle(self, tx: Tx, before: Redemption, after: Redemption, reply: Reply) -> Sequence[Event]:
        """Brings the order up to what a reply made of its claim, in that transaction; what there is to tell of it."""
        captured = before.state is states.State.CAPTURING_FUNDING and after.state is not before.state
        ended = of_claims.ended(after) and not of_claims.ended(before)
        if not captured and not ended:
            return ()
        order = await store.lock(tx, after.program_id, _of(after))
        if order is None:
            raise internal()
        if captured:
            redeemed_minor = order.redeemed_minor + after.issued_minor
            paid = replace(order, redeemed_minor=redeemed_minor, hold_id=reply.hold_id)
            await store.change(tx, order, paid, due=False)
            return ()
        return await self._ended(tx, order, after)

    async def _ended(self, tx: Tx, order: Order, claim: Redemption) -> Sequence[Event]:
        others = await store.under_way(tx, order, besides=claim.redemption_id)
        after = rules.claim_ended(order, claim, others=others)
        await store.change(tx, order, after, due=after.state in CLOSING)
        if claim.status is not Status.FULFILLED:
            return ()
        program = await programs.get(tx, order.program_id)
        return [wire.event(after, "redeemed", program.now(self._clock), claim)]


def _of(claim: Redemption) -> UUID:
    if claim.order_id is None:
        raise internal()
    return claim.order_id
