"""What is offered, summed up by how it is paid. Pure."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from rewards.catalog.v1.rewards_pb2 import Offer, Reward


class Method(NamedTuple):
    """A kind of reward in a currency, of so many brands, for everybody or for members only."""

    kind: Reward.Kind.ValueType
    currency: str
    members_only: bool
    brands: int
    min_minor: int
    max_minor: int


def methods(offers: Iterable[Offer], serves: Callable[[Offer, bool], bool]) -> list[Method]:
    """The methods of what is offered, in order. `serves` is true for an offer that is delivered, to a member or, where
    it is asked with False, to anybody."""
    found: dict[tuple[Reward.Kind.ValueType, str, bool], list[Offer]] = {}
    for offer in offers:
        if serves(offer, True):
            found.setdefault((offer.kind, offer.currency, not serves(offer, False)), []).append(offer)
    return [
        Method(
            *key,
            brands=len(group),
            min_minor=min(offer.min_minor for offer in group),
            max_minor=max(offer.max_minor for offer in group),
        )
        for key, group in sorted(found.items())
    ]
