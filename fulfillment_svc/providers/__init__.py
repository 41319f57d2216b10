"""Providers issue the rewards. One interface over all of them, and a closed set of answers, of which only
two are definite: a timeout, a 5xx or an answer that does not fit the order is `Unknown` (G68)."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Item:
    """One item of an order. `number` is from 1; `value_minor` is its face value in minor units."""

    number: int
    brand: str
    value_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Order:
    """What a provider is given. `reference` is ours, which the caller has stored before. `member_id` is empty where the
    recipient is no member. `country` is the recipient's (ISO 3166-1 alpha-2), `kind` the reward's, as the catalog names
    it; both are empty in orders from before they were kept. The items are alike but for their numbers."""

    reference: str
    program_id: str
    member_id: str
    country: str
    kind: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Issued:
    """Definite: the provider issued these items. One entry an item, in the order of their numbers: its code, or None
    for one that it will not issue. At least one is issued; `reason` says why others are not, like OUT_OF_STOCK."""

    codes: tuple[str | None, ...] = field(repr=False)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Definite: nothing is issued under this reference, now or later. `reason` is like OUT_OF_STOCK."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pending:
    """The provider has the order and is still at it."""

    reason: str = "PENDING"


@dataclass(frozen=True, slots=True)
class NotSeen:
    """The provider shows no such order. Definite only once its visibility window has passed."""

    reason: str = "NOT_SEEN"


@dataclass(frozen=True, slots=True)
class Unknown:
    """The order may or may not be issued. `reason` is a constant like TIMEOUT or HTTP_503."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotSent(Unknown):
    """What is unknown of the order is only what became of it before: this time nothing has gone out."""


class Provider(Protocol):
    """A provider as the saga sees it. Both calls raise nothing but cancellation."""

    @property
    def idempotent(self) -> bool:
        """True if an order sent again under its reference is never issued twice."""

    @property
    def visibility_s(self) -> float:
        """How long after an order a query may still not show it."""

    @property
    def pending_s(self) -> float:
        """How long an order may be pending before a person looks at it."""

    async def order(self, order: Order) -> Issued | Rejected | Pending | Unknown:
        """Orders the items under our reference."""

    async def query(self, order: Order) -> Issued | Rejected | Pending | NotSeen | Unknown:
        """Asks what became of an order, which the answer is compared with."""
