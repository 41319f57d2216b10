"""The beginning of a claim: a redemption that is paid from its order."""

from dataclasses import replace

from fulfillment_svc.orders.invitations import Invitations
from fulfillment_svc.orders.values import Order
from fulfillment_svc.providers.routing import Router
from fulfillment_svc.providers.serving import Route
from fulfillment_svc.redemptions import rules, secrets_store, store
from fulfillment_svc.redemptions.mail import Recipient
from fulfillment_svc.redemptions.values import Choice, Redemption, Unit
from svckit.clock import Clock, new_id
from svckit.db import Tx
from svckit.programs import Program


class Starting:
    """Starts claims. `router` knows who delivers what."""

    def __init__(self, router: Router, invitations: Invitations, clock: Clock) -> None:
        self._router = router
        self._invitations = invitations
        self._clock = clock

    def route(self, choice: Choice, program: Program, country: str) -> Route:
        """Who delivers a choice. Raises REWARD_UNAVAILABLE or COUNTRY_NOT_SERVED if nobody does."""
        return self._router.choose(choice.wanted(program, "", country))

    def claim(
        self, order: Order, choice: Choice, program: Program, *, country: str, key: str, traceparent: str
    ) -> Redemption:
        """A new claim of a part of an order. Raises as `route`."""
        route = self.route(choice, program, country)
        return Redemption(
            program_id=order.program_id,
            redemption_id=new_id(),
            member_id="",
            choice=choice,
            provider=route.name,
            route=route.why,
            country=country,
            idempotency_key=key,
            created_at=program.now(self._clock),
            units=(Unit(),) * choice.quantity,
            traceparent=traceparent,
            order_id=order.order_id,
            state=rules.first(choice, claims=True),
        )

    async def begin(self, tx: Tx, claim: Redemption, recipient: Recipient, lease_s: float) -> None:
        """Stores a claim, claimed for `lease_s`; whoever calls this takes its value out of the order."""
        payee = self._invitations.payee(claim, recipient)
        await store.insert_redemption(tx, replace(claim, payee=payee), lease_s)
        await secrets_store.insert_secrets(tx, self._invitations.of_claim(claim, recipient))
