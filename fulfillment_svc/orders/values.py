"""An order as a value."""

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self
from uuid import UUID

from fulfillment_svc.orders.states import CLAIMABLE, Delivery, State
from fulfillment_svc.redemptions.mail import Recipient
from fulfillment_svc.redemptions.values import Choice

TOKEN_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class Invitation:
    """Who an order is for, and the token of its link: personal data and as good as the value, so it is stored sealed
    and never logged. `country` is empty where nobody has said."""

    recipient: Recipient
    country: str
    token: str = field(repr=False)

    def to_bytes(self) -> bytes:
        """The invitation as it is sealed."""
        return json.dumps([self.recipient.email, self.recipient.name, self.country, self.token]).encode()

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """Reads what `to_bytes` wrote."""
        email, name, country, token = json.loads(stored)
        return cls(Recipient(email, name), country, token)


def new_token() -> str:
    """A token that nobody guesses (G54)."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def hashed(token: str) -> bytes:
    """A token as it is stored. It has too many bits to be found by trying, so a plain hash does."""
    return hashlib.sha256(token.encode()).digest()


@dataclass(frozen=True, slots=True)
class Order:
    """An order as stored; amounts in minor units of `currency`.

    `menu` is a `rewards.catalog.v1.Menu`; empty where there is a `choice`, the one reward that the order names, at the
    price it was quoted at (G73). `remaining_minor` may still be claimed, `redeemed_minor` is captured, `returned_minor`
    was given back; what is none of these is under way. `hold_id` is the ledger's hold of all that is not captured.
    `reason` says why it fails, waits for a person or was called off by one, `parked` is true while it needs a person,
    and `refusal` is the `google.rpc.Status` that the caller gets.
    `attempts` counts the tries of the present step and `fencing_token` the claims of workers.
    """

    program_id: str
    order_id: UUID
    value_minor: int
    currency: str
    delivery: Delivery
    menu: bytes
    choice: Choice | None
    token_hash: bytes
    expires_at: datetime | None
    created_at: datetime
    idempotency_key: str
    traceparent: str
    remaining_minor: int
    fee_minor: int = 0
    redeemed_minor: int = 0
    returned_minor: int = 0
    state: State = State.HOLDING
    reason: str = ""
    parked: bool = False
    refusal: bytes | None = None
    hold_id: UUID | None = None
    attempts: int = 0
    fencing_token: int = 1

    @property
    def stake_minor(self) -> int:
        """What is held of it for no claim, with its part of the fee."""
        return self.remaining_minor + self.fee_minor * self.remaining_minor // self.value_minor

    @property
    def direct(self) -> bool:
        """True if there is nothing to choose and an address to send it to, so that nobody needs to claim."""
        return self.choice is not None and self.delivery is Delivery.EMAIL

    def claimable(self, now: datetime) -> bool:
        """True if something of it can be claimed at the program's time `now`."""
        return self.state in CLAIMABLE and self.remaining_minor > 0 and not self.expired(now)

    def expired(self, now: datetime) -> bool:
        """True if its time has run out."""
        return self.expires_at is not None and self.expires_at <= now
