"""What a reward is, which denominations it is sold in, and what they cost. Pure values and functions."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from svckit.errors import Reason, Refused
from svckit.money import exponent

# Points and minor units leave as JSON numbers, which carry no more exactly.
MAX_EXACT: Final = 2**53


class Availability(StrEnum):
    """Whether a reward can be had."""

    AVAILABLE = "AVAILABLE"
    OUT_OF_STOCK = "OUT_OF_STOCK"
    WITHDRAWN = "WITHDRAWN"


@dataclass(frozen=True, slots=True)
class Range:
    """Every step from min to max, in minor units. max - min is a whole number of steps."""

    min_minor: int
    max_minor: int
    step_minor: int

    def __contains__(self, denomination_minor: int) -> bool:
        return (
            self.min_minor <= denomination_minor <= self.max_minor
            and (denomination_minor - self.min_minor) % self.step_minor == 0
        )


@dataclass(frozen=True, slots=True)
class Price:
    """`points` buy `denomination_minor`."""

    denomination_minor: int
    points: int

    def of(self, denomination_minor: int) -> int:
        """What a denomination costs in proportion, rounded up: a part of a point is never given away."""
        return -(-denomination_minor * self.points // self.denomination_minor)


@dataclass(frozen=True, slots=True)
class Rate:
    """A program's redemption rate: points for one major unit of its currency."""

    currency: str
    points_per_unit: int


@dataclass(frozen=True, slots=True)
class Reward:
    """A version of a reward. Sold in `denominations_minor` if there is no `range`.

    `prices` are explicit: one for each denomination, or a single one that a range's costs are in
    proportion to; without any, the program's rate is the price. Two rewards are equal if their content
    is, whatever their versions are.
    """

    reward_id: str
    name: str
    description: str
    brand: str
    category: str
    kind: str
    countries: tuple[str, ...]
    currency: str
    denominations_minor: tuple[int, ...]
    range: Range | None
    prices: tuple[Price, ...]
    images: tuple[str, ...]
    availability: Availability
    terms: str
    version: int = field(default=0, compare=False)

    def sells(self, denomination_minor: int) -> bool:
        """True if the reward comes in this denomination."""
        if self.range is not None:
            return denomination_minor in self.range
        return denomination_minor in self.denominations_minor

    @property
    def shown_denominations_minor(self) -> tuple[int, ...]:
        """The denominations whose costs a listing shows: all of them, or the two ends of the range."""
        if self.range is None:
            return self.denominations_minor
        return tuple(sorted({self.range.min_minor, self.range.max_minor}))


def points(reward: Reward, denomination_minor: int, rate: Rate) -> int | None:
    """What a denomination of the reward costs, of any size; None if it has no price.

    The program's rate is of the program's currency, so it is no price for a reward in another one.
    """
    if not reward.prices:
        per_unit = Price(10 ** exponent(reward.currency), rate.points_per_unit)
        return per_unit.of(denomination_minor) if reward.currency == rate.currency else None
    if reward.range is not None:
        return reward.prices[0].of(denomination_minor)
    explicit = {price.denomination_minor: price.points for price in reward.prices}
    return explicit.get(denomination_minor)


def fault(reward: Reward, rate: Rate) -> str | None:
    """Why the reward cannot be sold as it stands; None if it can."""
    if bool(reward.denominations_minor) == (reward.range is not None):
        return "must have either denominations or a denominationRange"
    if len(set(reward.denominations_minor)) < len(reward.denominations_minor):
        return "must have each denomination once"
    if reward.range is not None and reward.range.max_minor not in reward.range:
        return "must reach the range's max from its min in whole steps"
    return _price_fault(reward, rate)


def _price_fault(reward: Reward, rate: Rate) -> str | None:
    priced = tuple(price.denomination_minor for price in reward.prices)
    if not priced and reward.currency != rate.currency:
        return f"must have explicit prices, because its currency is not the program's, {rate.currency}"
    if priced and reward.range is None and priced != reward.denominations_minor:
        return "must have one price for each of its denominations, or none"
    if priced and reward.range is not None and len(priced) > 1:
        return "must have one price for its range, or none"
    return None


@dataclass(frozen=True, slots=True)
class Filters:
    """What a listing asks for; what is empty asks for nothing. `text` stands in a name or brand, in any case."""

    country: str = ""
    category: str = ""
    brand: str = ""
    currency: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """What all items of an order cost, and their face value."""

    points: int
    value_minor: int


def check_available(reward: Reward) -> None:
    """Raises REWARD_UNAVAILABLE for a withdrawn reward, OUT_OF_STOCK where no item is left (G73)."""
    if reward.availability is Availability.WITHDRAWN:
        raise Refused(Reason.REWARD_UNAVAILABLE, "This reward is withdrawn.")
    if reward.availability is Availability.OUT_OF_STOCK:
        raise Refused(Reason.OUT_OF_STOCK, "This reward is out of stock.")


def quote(reward: Reward, denomination_minor: int, quantity: int, country: str, rate: Rate) -> Quote:
    """Prices an order; an empty `country` is not checked (G73, G74).

    Raises REWARD_UNAVAILABLE (withdrawn, or without a price), OUT_OF_STOCK, DENOMINATION_INVALID,
    COUNTRY_NOT_SERVED, and AMOUNT_OUT_OF_RANGE over 2^53.
    """
    check_available(reward)
    if not reward.sells(denomination_minor):
        raise Refused(Reason.DENOMINATION_INVALID, "This reward is not sold in this denomination.")
    if country and country not in reward.countries:
        raise Refused(Reason.COUNTRY_NOT_SERVED, "This reward is not delivered to this country.")
    each = points(reward, denomination_minor, rate)
    if each is None:
        raise Refused(Reason.REWARD_UNAVAILABLE, "This reward has no price in points.")
    total = Quote(points=each * quantity, value_minor=denomination_minor * quantity)
    if max(total.points, total.value_minor) > MAX_EXACT:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "The order is too large to be priced.")
    return total
