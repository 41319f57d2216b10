"""Providers issue the rewards. One interface over all of them, and a closed set of answers, of which only
two are definite: a timeout, a 5xx or an answer that does not fit the order is `Unknown` (G68)."""

from collections.abc import Sequence
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
class NotSeen:
    """The provider shows no such order. Definite only once its visibility window has passed."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The order may or may not be issued. `reason` is a constant like TIMEOUT or HTTP_503."""

    reason: str


class Provider(Protocol):
    """A provider as the saga sees it. Both calls raise nothing but cancellation."""

    @property
    def idempotent(self) -> bool:
        """True if an order sent again under its reference is never issued twice."""

    @property
    def visibility_s(self) -> float:
        """How long after an order a query may still not show it."""

    async def order(self, reference: str, items: Sequence[Item]) -> Issued | Rejected | Unknown:
        """Orders the items under our reference, which the caller has stored before."""

    async def query(self, reference: str, items: Sequence[Item]) -> Issued | Rejected | NotSeen | Unknown:
        """Asks what became of the order; `items` are what was ordered, to compare the answer with."""
