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
    """A program's redemption rate: points for one major unit of its currency. `others` are the prices of further
    currencies."""

    currency: str
    points_per_unit: int
    others: tuple[tuple[str, Price], ...] = ()

    def price(self, currency: str) -> Price | None:
        """What a currency costs; None if nobody has said."""
        if currency == self.currency:
            return Price(10 ** exponent(currency), self.points_per_unit)
        return dict(self.others).get(currency)


@dataclass(frozen=True, slots=True)
class Text:
    """What people read about a reward. `language` is a BCP 47 tag, or empty for what was stored without one."""

    language: str
    name: str
    description: str
    terms: str


@dataclass(frozen=True, slots=True)
class Reward:
    """A version of a reward. Sold in `denominations_minor` if there is no `range`.

    `prices` are explicit: one for each denomination; or those of a range, in order, each of a tier that begins at
    its denomination. Without any, the rate of the currency is the price. Two rewards are equal if their content is.
    `provider` is empty for what operators put. `withdrawn` means by a person, and `units_left` is None where there
    is no limit.
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
    texts: tuple[Text, ...] = ()
    version: int = field(default=0, compare=False)
    provider: str = field(default="", compare=False)
    withdrawn: bool = field(default=False, compare=False)
    units_left: int | None = field(default=None, compare=False)

    @property
    def standing(self) -> Availability:
        """Whether it can be had, after all: by what is stated, by a person's withdrawal and by the stock."""
        if self.withdrawn:
            return Availability.WITHDRAWN
        sold_out = self.availability is Availability.AVAILABLE and self.units_left == 0
        return Availability.OUT_OF_STOCK if sold_out else self.availability

    def text(self, language: str) -> Text:
        """What it reads in a language: in the one asked for, else in its first part ("de" of "de-CH"), else as it was
        stored. Tags are compared in any case (RFC 4647, section 3.4)."""
        ours = {text.language.lower(): text for text in self.texts}
        parts = language.lower().split("-")
        tags = ("-".join(parts[:count]) for count in range(len(parts), 0, -1))
        stored = Text("", self.name, self.description, self.terms)
        return next((ours[tag] for tag in tags if tag in ours), stored)

    def sells(self, denomination_minor: int) -> bool:
        """True if the reward comes in this denomination."""
        if self.range is not None:
            return denomination_minor in self.range
        return denomination_minor in self.denominations_minor

    @property
    def shown_denominations_minor(self) -> tuple[int, ...]:
        """The denominations whose costs a listing shows: all of them, or the two ends of the range and the first
        denomination of each tier."""
        if self.range is None:
            return self.denominations_minor
        tiers = (price.denomination_minor for price in self.prices[1:])
        return tuple(sorted({self.range.min_minor, self.range.max_minor, *tiers}))


def points(reward: Reward, denomination_minor: int, rate: Rate) -> int | None:
    """What a denomination of the reward costs, of any size; None if it has no price."""
    if not reward.prices:
        of_currency = rate.price(reward.currency)
        return None if of_currency is None else of_currency.of(denomination_minor)
    if reward.range is not None:
        reached = [price for price in reward.prices[1:] if price.denomination_minor <= denomination_minor]
        return (reached[-1] if reached else reward.prices[0]).of(denomination_minor)
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
    if not priced and rate.price(reward.currency) is None:
        return f"must have explicit prices, because {reward.currency} has no rate in this program"
    if priced and reward.range is None and priced != reward.denominations_minor:
        return "must have one price for each of its denominations, or none"
    if reward.range is not None and len(priced) > 1:
        begins = priced[0] <= reward.range.min_minor
        if not begins or len(set(priced)) < len(priced) or not all(tier in reward.range for tier in priced[1:]):
            return "must have tiers that begin at denominations of its range, the lowest at its min, or one price"
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
class Choice:
    """A part of a menu; what is empty asks for nothing. `brands` are in lower case."""

    kind: str = ""
    brands: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Menu:
    """What a recipient may choose from: whatever fits one of the choices, in `currency`. Without a `country` it is what
    can be sent to any of `countries`, and without those to anywhere."""

    choices: tuple[Choice, ...]
    currency: str
    country: str = ""
    countries: tuple[str, ...] = ()
    reward_id: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """What all items of an order cost, and their face value."""

    points: int
    value_minor: int


def check_available(reward: Reward, quantity: int = 1) -> None:
    """Raises REWARD_UNAVAILABLE for a withdrawn reward, OUT_OF_STOCK where fewer items are left (G73)."""
    if reward.standing is Availability.WITHDRAWN:
        raise Refused(Reason.REWARD_UNAVAILABLE, "This reward is withdrawn.")
    short = reward.units_left is not None and reward.units_left < quantity
    if short or reward.standing is Availability.OUT_OF_STOCK:
        raise Refused(Reason.OUT_OF_STOCK, "This reward is out of stock.")


def sold_as(quoted: Reward | None, reward: Reward, denomination_minor: int, rate: Rate) -> bool:
    """True if what was quoted is what is sold now: the same denomination of the same currency at the same price."""
    if quoted is None or quoted.currency != reward.currency:
        return False
    sold = quoted.sells(denomination_minor) and reward.sells(denomination_minor)
    return sold and points(quoted, denomination_minor, rate) == points(reward, denomination_minor, rate)


def price_changed() -> Refused:
    """PRICE_CHANGED, for an order at a price that is no longer the reward's (G73)."""
    return Refused(Reason.PRICE_CHANGED, "This reward is no longer sold as it was quoted.")


def quote(reward: Reward, denomination_minor: int, quantity: int, country: str, rate: Rate) -> Quote:
    """Prices an order; an empty `country` is not checked (G73, G74).

    Raises REWARD_UNAVAILABLE (withdrawn, or without a price), OUT_OF_STOCK, DENOMINATION_INVALID,
    COUNTRY_NOT_SERVED, and AMOUNT_OUT_OF_RANGE over 2^53.
    """
    check_available(reward, quantity)
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
