"""Whether a value can be spent to the last on what a menu offers: minimums and steps can leave a rest that buys
nothing. Pure; amounts in minor units."""

from collections.abc import Collection
from dataclasses import dataclass
from math import gcd
from typing import Final

# In more parts than these nobody would claim a value.
PARTS_MAX: Final = 20


@dataclass(frozen=True, slots=True, order=True)
class Offer:
    """What a reward is sold for: every step from `least` to `most`, which one denomination is both of."""

    least: int
    most: int
    step: int


def spendable(value: int, offers: Collection[Offer]) -> bool:
    """True if at most PARTS_MAX denominations of the offers sum up to the value."""
    if any(_alone(value, offer) for offer in offers):
        return True
    if not offers or value > PARTS_MAX * max(offer.most for offer in offers):
        return False
    unit = gcd(*(part for offer in offers for part in (offer.least, offer.step)))
    return value % unit == 0 and _together(value // unit, {_in_units(offer, unit) for offer in offers})


def unspendable(value: int, offers: Collection[Offer]) -> str:
    """Why the value cannot be spent, in a few words that name no amount."""
    if not offers:
        return "Nothing on the menu is sold in this currency."
    if value < min(offer.least for offer in offers):
        return "The value is below the least denomination of everything on the menu."
    return "No denominations of the menu sum up to the value, so a part of it could not be spent."


def _alone(value: int, offer: Offer) -> bool:
    return any(
        parts * offer.least <= value <= parts * offer.most and (value - parts * offer.least) % offer.step == 0
        for parts in range(1, PARTS_MAX + 1)
    )


def _in_units(offer: Offer, unit: int) -> Offer:
    return Offer(offer.least // unit, offer.most // unit, offer.step // unit)


def _together(value: int, offers: Collection[Offer]) -> bool:
    """Bit n of `reached` stands for the sum n, so adding an amount to every sum is one shift."""
    mask, reached = (1 << value + 1) - 1, 1
    for _ in range(PARTS_MAX):
        more = reached
        for offer in offers:
            more |= _added(reached, offer, mask)
        if more >> value & 1:
            return True
        if more == reached:
            return False
        reached = more
    return False


def _added(sums: int, offer: Offer, mask: int) -> int:
    """The sums with one denomination of the offer added, in all ways: runs of steps are doubled up."""
    found, count, steps = sums << offer.least & mask, 1, (offer.most - offer.least) // offer.step + 1
    while count < steps:
        more = min(count, steps - count)
        found |= found << more * offer.step & mask
        count += more
    return found
