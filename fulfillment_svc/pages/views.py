"""What the pages show, in words: amounts, dates, brands and choices, of what `claims` says of a link. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from rewards.fulfillment.v1 import claims_pb2 as pb
from rewards.fulfillment.v1.orders_pb2 import OrderClaim

from fulfillment_svc.looks import words
from svckit import money
from svckit.errors import Refused

_HUES: Final = 7
_STATUS: Final = {OrderClaim.FULFILLED: "", OrderClaim.FAILED: "could not be had"}
_ON_ITS_WAY: Final = "on its way"


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount in minor units."""

    minor: int
    currency: str

    @property
    def plain(self) -> str:
        """As forms have it: "1250.00"."""
        return self.number.replace(",", "")

    @property
    def number(self) -> str:
        """For people, without the currency: "1,250.00"."""
        return self.text.removesuffix(f" {self.currency}")

    @property
    def text(self) -> str:
        """For people: "1,250.00 USD"."""
        return words.amount(self.minor, self.currency)

    @property
    def short(self) -> str:
        """For people, without decimals where those are nought: "1,250"."""
        whole, _, decimals = self.number.partition(".")
        return self.number if decimals.strip("0") else whole


class Brand(NamedTuple):
    """A brand with what stands for its logo: letters on one of our colours."""

    name: str
    letters: str
    hue: int


class Made(NamedTuple):
    """What was claimed before."""

    brand: Brand
    worth: str
    status: str
    code: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What a link is worth. `until` is empty where it does not run out."""

    recipient: str
    currency: str
    country: str
    value: Amount
    remaining: Amount
    until: str
    made: list[Made]

    @property
    def partly(self) -> bool:
        """True if a part of it was claimed."""
        return self.remaining.minor < self.value.minor


@dataclass(frozen=True, slots=True)
class Option:
    """A reward that may be chosen: `amounts`, or every `step` from `least` to `most`. `wanted` is what was asked for of
    it, as it was written; None where nothing was."""

    reward_id: str
    brand: Brand
    name: str
    description: str
    terms: str
    amounts: list[Amount]
    least: Amount
    most: Amount
    step: Amount
    wanted: str | None = None

    @property
    def range(self) -> str:
        """What it comes in, in short."""
        if self.least == self.most:
            return f"{self.least.short} {self.least.currency}"
        return f"{self.least.short} to {self.most.short} {self.least.currency}"

    @property
    def words(self) -> str:
        """What may be written into its field."""
        steps = "" if self.step.minor == 1 else f", in steps of {self.step.text}"
        return f"Any amount from {self.least.number} to {self.most.text}{steps}."

    def amount(self) -> Amount | None:
        """What was asked for, if it comes in that."""
        try:
            asked = money.minor(float(self.wanted or ""), self.least.currency, "amount")
        except (ValueError, ArithmeticError, Refused):
            return None
        found = Amount(asked, self.least.currency)
        if self.amounts:
            return found if found in self.amounts else None
        steps = self.least.minor <= asked <= self.most.minor and (asked - self.least.minor) % self.step.minor == 0
        return found if steps else None


def claim(answer: pb.GetClaimResponse, zone: ZoneInfo) -> Claim:
    """What a link is worth, as GetClaim says."""
    currency = answer.currency
    return Claim(
        recipient=answer.recipient_name,
        currency=currency,
        country=answer.country,
        value=amount(answer.value, currency),
        remaining=amount(answer.remaining, currency),
        until=words.day(answer.expires_at.ToDatetime(UTC), zone) if answer.HasField("expires_at") else "",
        made=[_made(one, currency) for one in answer.claims],
    )


def options(menu: Iterable[pb.ClaimOption], currency: str, reward_id: str, wanted: str) -> list[Option]:
    """The menu; of the reward of that id so much is wanted."""
    return [_option(one, currency, wanted if one.reward_id == reward_id else None) for one in menu]


def amount(value: float, currency: str) -> Amount:
    """Major units as an amount."""
    return Amount(money.minor(value, currency, "amount"), currency)


def brand(name: str) -> Brand:
    """A brand's name with its letters: of its first two words, or its first two."""
    words = ["".join(filter(str.isalnum, word)) for word in name.split()]
    words = [word for word in words if word]
    letters = "".join(word[0] for word in words[:2]) if len(words) > 1 else "".join(words)[:2]
    return Brand(name, letters.upper(), sum(name.encode()) % _HUES)


def masked(code: str) -> str:
    """A masked code in dots, its end apart; empty where there is none yet."""
    return f"•••• {code.lstrip('*')}" if code else ""


def _made(one: pb.ClaimMade, currency: str) -> Made:
    status = _STATUS.get(one.status, _ON_ITS_WAY)
    return Made(brand(one.brand), amount(one.denomination, currency).text, status, masked(one.code_masked))


def _option(one: pb.ClaimOption, currency: str, wanted: str | None) -> Option:
    amounts = sorted((amount(each, currency) for each in one.denominations), key=lambda found: found.minor)
    of = one.denomination_range
    ends = (
        (amounts[0], amounts[-1], Amount(1, currency))
        if amounts
        else (amount(e, currency) for e in (of.min, of.max, of.step))
    )
    least, most, step = ends
    texts = one.name, one.description, one.terms
    return Option(one.reward_id, brand(one.brand), *texts, amounts, least, most, step, wanted)
