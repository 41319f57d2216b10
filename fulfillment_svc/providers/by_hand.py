"""The provider that is a person: nothing is called, and an operator issues the order, or gives it back, at the desk."""

from typing import Final

from fulfillment_svc.providers import NotSeen, Order, Pending

_REASON: Final = "BY_HAND"


class ByHand:
    """Takes every order and never knows of one, so that it waits for an operator at once and for good."""

    idempotent: Final = False
    visibility_s: Final = 0.0
    pending_s: Final = 0.0

    async def order(self, order: Order) -> Pending:
        """Leaves it to an operator."""
        return Pending(_REASON)

    async def query(self, order: Order) -> NotSeen:
        """What an operator has issued, the desk has said itself."""
        return NotSeen(_REASON)
