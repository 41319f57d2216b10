"""The beginning of a claim: a redemption that is paid from its order."""

from collections.abc import Collection

from fulfillment_svc.orders.invitations import Invitations
from fulfillment_svc.orders.values import Order
from fulfillment_svc.providers.routing import route
from fulfillment_svc.redemptions import secrets_store, store
from fulfillment_svc.redemptions.mail import Recipient
from fulfillment_svc.redemptions.values import Choice, Redemption, Unit
from svckit.clock import Clock, new_id
from svckit.db import Tx
from svckit.programs import Program


class Starting:
    """Starts claims. `providers` are the names of those there are."""

    def __init__(self, providers: Collection[str], invitations: Invitations, clock: Clock) -> None:
        self._providers = providers
        self._invitations = invitations
        self._clock = clock

    def provider(self, program: Program) -> str:
        """Who is asked for what is claimed. Raises REWARD_UNAVAILABLE if nobody can be."""
        return route(program, self._providers)

    def claim(self, order: Order, choice: Choice, program: Program, *, key: str, traceparent: str) -> Redemption:
        """A new claim of a part of an order. Raises as `provider`."""
        return Redemption(
            program_id=order.program_id,
            redemption_id=new_id(),
            member_id="",
            choice=choice,
            provider=self.provider(program),
            idempotency_key=key,
            created_at=program.now(self._clock),
            units=(Unit(),) * choice.quantity,
            traceparent=traceparent,
            order_id=order.order_id,
        )

    async def begin(self, tx: Tx, claim: Redemption, recipient: Recipient, lease_s: float) -> None:
        """Stores a claim, claimed for `lease_s`; whoever calls this takes its value out of the order."""
        await store.insert_redemption(tx, claim, lease_s)
        await secrets_store.insert_secrets(tx, self._invitations.of_claim(claim, recipient))
