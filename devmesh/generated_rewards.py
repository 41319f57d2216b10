"""A catalog of the size that a large program has, made up from a seed: 5,000 brands, 20,000 rewards, 90 countries.

The same seed makes the same catalog. It is for benchmarks and tests; no mesh is seeded with it.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from rewards.catalog.v1.rewards_pb2 import (
    CurrencyRate,
    DenominationRange,
    PutRewardsRequest,
    Reward,
    RewardPrice,
    RewardText,
)

# Countries by currency, and a round denomination that is about 10 US dollars.
_MONEY: Final = """
USD 10 US EC SV PA PR|EUR 10 AT BE CY DE EE ES FI FR GR HR IE IT LT LU LV MT NL PT SI SK|GBP 10 GB|CAD 15 CA|AUD 15 AU
NZD 15 NZ|CHF 10 CH LI|SEK 100 SE|NOK 100 NO|DKK 75 DK|PLN 50 PL|CZK 250 CZ|HUF 4000 HU|RON 50 RO|BGN 20 BG
RSD 1000 RS|TRY 400 TR|UAH 400 UA|JPY 1500 JP|KRW 15000 KR|CNY 75 CN|HKD 80 HK|TWD 300 TW|SGD 15 SG|MYR 50 MY
THB 350 TH|IDR 150000 ID|PHP 600 PH|VND 250000 VN|INR 1000 IN|PKR 3000 PK|BDT 1200 BD|LKR 3000 LK|NPR 1500 NP
AED 40 AE|SAR 40 SA|QAR 40 QA|KWD 3 KW|BHD 4 BH|OMR 4 OM|JOD 7 JO|ILS 40 IL|EGP 500 EG|MAD 100 MA|TND 30 TN
KES 1500 KE|TZS 25000 TZ|UGX 40000 UG|NGN 15000 NG|GHS 150 GH|ZAR 200 ZA|BWP 150 BW|ZMW 250 ZM|MUR 450 MU|BRL 50 BR
ARS 10000 AR|CLP 10000 CL|COP 40000 CO|PEN 40 PE|UYU 400 UY|MXN 200 MX|GTQ 80 GT|CRC 5000 CR|DOP 600 DO|XOF 6000 SN CI
"""
_CATEGORIES: Final = (
    *("retail", "food", "travel", "entertainment", "wellness", "utilities", "fashion", "home", "electronics", "sports"),
    *("beauty", "charity"),
)
_FIRST: Final = (
    *("Amber", "Birch", "Cobalt", "Delta", "Ember", "Fern", "Granite", "Harbour", "Indigo", "Juniper", "Kestrel"),
    *("Lumen", "Maple", "North", "Opal", "Pine", "Quartz", "River", "Saffron", "Tidal", "Umber", "Velvet", "Willow"),
)
_SECOND: Final = (
    *("Books", "Coffee", "Travel", "Games", "Market", "Kitchen", "Sports", "Fashion", "Garden", "Music", "Cinema"),
    *("Outfitters", "Pharmacy", "Toys", "Bikes", "Hotels", "Air", "Energy", "Mobile", "Grill", "Spa", "Studio"),
)
_GIFT_CARD: Final = {"de": "Geschenkkarte", "fr": "Carte cadeau", "es": "Tarjeta regalo", "pl": "Karta podarunkowa"}
_POINTS_OF_TEN: Final = 800


@dataclass(frozen=True, slots=True)
class _Money:
    currency: str
    ten: int
    countries: tuple[str, ...]


def _money() -> list[_Money]:
    parts = (part.split() for part in _MONEY.strip().replace("\n", "|").split("|"))
    return [_Money(currency, int(ten), tuple(countries)) for currency, ten, *countries in parts]


@dataclass(frozen=True, slots=True)
class Generated:
    """A catalog in the parts that PutRewards takes, and the rates of its currencies other than US dollars."""

    rewards: list[Reward] = field(default_factory=list)
    prices: list[RewardPrice] = field(default_factory=list)
    texts: list[RewardText] = field(default_factory=list)

    def requests(self, program_id: str, size: int = 1_000) -> Iterator[PutRewardsRequest]:
        """The catalog in requests of so many rewards."""
        for start in range(0, len(self.rewards), size):
            part = self.rewards[start : start + size]
            names = {reward.reward_id for reward in part}
            yield PutRewardsRequest(
                program_id=program_id,
                rewards=part,
                prices=[price for price in self.prices if price.reward_id in names],
                texts=[text for text in self.texts if text.reward_id in names],
            )


def rates() -> list[CurrencyRate]:
    """What every currency but the US dollar costs."""
    return [
        CurrencyRate(currency=money.currency, amount=money.ten, points=_POINTS_OF_TEN)
        for money in _money()
        if money.currency != "USD"
    ]


def generate(brands: int = 5_000, rewards: int = 20_000, seed: int = 1) -> Generated:
    """So many rewards of so many brands, in turn."""
    chance, moneys, made = random.Random(seed), _money(), Generated()  # noqa: S311 - a made-up world needs no secrets
    for number in range(rewards):
        nth = number % brands
        brand = f"{_FIRST[nth % len(_FIRST)]} {_SECOND[nth // len(_FIRST) % len(_SECOND)]} {nth}"
        # Half of them are of the five largest markets, as real catalogs are.
        money = chance.choice(moneys[:5] if chance.random() < 0.5 else moneys)  # noqa: PLR2004
        _add(made, chance, f"g{number:05}-{brand.lower().replace(' ', '-')}", brand, money)
    return made


def _add(made: Generated, chance: random.Random, reward_id: str, brand: str, money: _Money) -> None:
    kind = chance.choice(Reward.Kind.values()[1:])
    count = chance.randint(1, len(money.countries))
    reward = Reward(
        reward_id=reward_id,
        name=f"{brand} gift card",
        description=f"Good at {brand} until it is used up.",
        brand=brand,
        category=chance.choice(_CATEGORIES),
        kind=kind,
        countries=sorted(chance.sample(money.countries, count)),
        currency=money.currency,
        images=[f"https://images.rewards.example/{reward_id}.png"],
        availability=chance.choices((Reward.AVAILABLE, Reward.OUT_OF_STOCK, Reward.WITHDRAWN), (94, 4, 2))[0],
        terms="Made up for measuring; it can be redeemed nowhere.",
    )
    if kind in {Reward.CASHBACK, Reward.OPEN_LOOP}:
        reward.denomination_range.CopyFrom(DenominationRange(min=money.ten, max=money.ten * 50, step=money.ten))
    else:
        reward.denominations.extend(money.ten * factor for factor in sorted(chance.sample((1, 2, 3, 5, 10, 20), 4)))
    if kind == Reward.CASHBACK:
        # The more, the cheaper.
        for factor, points in ((1, 820), (10, 7_900), (25, 19_000)):
            made.prices.append(RewardPrice(reward_id=reward_id, denomination=money.ten * factor, points=points))
    for language in chance.sample(sorted(_GIFT_CARD), chance.choice((0, 0, 1, 4))):
        name = f"{brand} {_GIFT_CARD[language]}"
        made.texts.append(RewardText(reward_id=reward_id, language=language, name=name))
    made.rewards.append(reward)
