"""Who an order is for and where it is claimed, as it lies sealed."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from fulfillment_svc.codes import RECIPIENT, Place, Sealed, Vault
from fulfillment_svc.compliance import rules
from fulfillment_svc.orders import store
from fulfillment_svc.orders.values import Invitation, Order
from fulfillment_svc.redemptions.mail import Recipient
from fulfillment_svc.redemptions.values import Redemption
from svckit.db import Tx


class Invitations:
    """Seals invitations with `vault` and opens them. `site` is the address that links begin with, and `key` makes the
    recipients' MACs."""

    def __init__(self, vault: Vault, site: str, key: bytes) -> None:
        self._vault = vault
        self._key = key
        self._site = site.rstrip("/")

    def seal(self, order: Order, invitation: Invitation) -> Sealed:
        """The invitation of an order, sealed."""
        return self._vault.seal(invitation.to_bytes(), store.place(order.program_id, order.order_id))

    def of_claim(self, claim: Redemption, recipient: Recipient) -> dict[Place, Sealed]:
        """The recipient of a new claim, sealed at its place."""
        place = Place(claim.program_id, claim.redemption_id, RECIPIENT)
        return {place: self._vault.seal(recipient.to_bytes(), place)}

    def payee(self, claim: Redemption, recipient: Recipient) -> str:
        """What the recipient of a claim is known by: the same for every order to one mailbox, and the order's id where
        there is no address (G76)."""
        if not recipient.email:
            return str(claim.order_id)
        return rules.recipient(self._key, claim.program_id, recipient.email).hex()

    async def readdress(self, tx: Tx, order: Order, email: str) -> None:
        """Sends the invitation of an order elsewhere from now on. Raises RECIPIENT_INVALID."""
        known = await self.of(tx, order)
        recipient = replace(known.recipient, email=email)
        recipient.address()
        await store.update_secret(tx, order, self.seal(order, replace(known, recipient=recipient)))

    async def of(self, tx: Tx, order: Order) -> Invitation:
        """The invitation of an order."""
        return self._opened(order, await store.secret(tx, order))

    async def links(self, tx: Tx, program_id: str, order_ids: Iterable[UUID], now: datetime) -> dict[UUID, str]:
        """The links of those orders of which something can be claimed at the program's time `now`."""
        found = await store.with_secrets(tx, program_id, order_ids)
        return {
            order.order_id: self.link(self._opened(order, sealed)) for order, sealed in found if order.claimable(now)
        }

    def link(self, invitation: Invitation) -> str:
        """Where its recipient chooses."""
        return f"{self._site}/claim/{invitation.token}"

    def _opened(self, order: Order, sealed: Sealed) -> Invitation:
        return Invitation.from_bytes(self._vault.open(sealed, store.place(order.program_id, order.order_id)))
