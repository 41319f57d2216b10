"""What a claim is paid from: it costs no points and has no hold of its own, because its order's holds its value."""

from collections.abc import Sequence
from typing import Protocol

from rewards.fulfillment.v1.webhooks_pb2 import Event

from fulfillment_svc.redemptions.values import Redemption, Reply
from svckit.db import Tx


class Purse(Protocol):
    """The orders that claims are paid from."""

    async def capture(self, claim: Redemption) -> Reply:
        """Captures a claim's value from its order's hold; the reply's hold is that of the rest."""

    async def settle(self, tx: Tx, before: Redemption, after: Redemption, reply: Reply) -> Sequence[Event]:
        """Brings the order up to what a reply made of its claim, in that transaction; what there is to tell of it."""
