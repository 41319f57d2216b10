"""The sandbox's catalog: 21 invented brands, 10 countries, every kind of reward."""

from dataclasses import dataclass

from rewards.catalog.v1.rewards_pb2 import DenominationRange, Reward, RewardPrice

CURRENCY_OF = {
    "US": "USD",
    "CA": "CAD",
    "GB": "GBP",
    "DE": "EUR",
    "FR": "EUR",
    "ES": "EUR",
    "PL": "PLN",
    "JP": "JPY",
    "IN": "INR",
    "KE": "KES",
}
# What 10 US dollars, and so 800 points, are about worth, as a round denomination of each currency.
_TEN = {"USD": 10, "CAD": 15, "GBP": 10, "EUR": 10, "PLN": 50, "JPY": 1_500, "INR": 1_000, "KES": 1_500}
_POINTS_OF_TEN = 800


@dataclass(frozen=True)
class _Brand:
    name: str
    category: str
    kind: Reward.Kind.ValueType
    what: str
    countries: tuple[str, ...]


_WORLD = tuple(CURRENCY_OF)
_EURO = ("DE", "FR", "ES")
_BRANDS = (
    _Brand("Amberline Books", "retail", Reward.CLOSED_LOOP, "Books and stationery", ("US", "GB", "DE")),
    _Brand("Northwind Outfitters", "retail", Reward.CLOSED_LOOP, "Outdoor clothing", ("US", "CA", "GB")),
    _Brand("Tinsel & Twine", "retail", Reward.CLOSED_LOOP, "Home and gifts", ("GB", "DE", "FR")),
    _Brand("Copperleaf Coffee", "food", Reward.CLOSED_LOOP, "Coffee and cake", ("US", "DE", "JP")),
    _Brand("Basil Street Kitchen", "food", Reward.CLOSED_LOOP, "Dinner for two", ("US", "GB", "IN")),
    _Brand("Mamba Grill", "food", Reward.CLOSED_LOOP, "Nyama choma and more", ("KE", "GB", "US")),
    _Brand("Skylark Travel", "travel", Reward.CLOSED_LOOP, "Flights and trains", ("US", "GB", "DE", "FR", "ES")),
    _Brand("Harbour Inns", "travel", Reward.CLOSED_LOOP, "Nights by the sea", ("GB", "ES", "PL")),
    _Brand("Pixelforge Games", "entertainment", Reward.DIGITAL, "Games and add-ons", _WORLD),
    _Brand("Moonreel Cinema", "entertainment", Reward.DIGITAL, "Films at home", ("US", "GB", "DE", "IN")),
    _Brand("Tonewell Music", "entertainment", Reward.DIGITAL, "Three months of music", ("US", "JP", "DE")),
    _Brand("Green Furrow", "wellness", Reward.VOUCHER, "A vegetable box", ("GB", "DE", "PL")),
    _Brand("Stillwater Spa", "wellness", Reward.VOUCHER, "An afternoon off", ("US", "FR", "JP")),
    _Brand("Pedal & Co", "wellness", Reward.VOUCHER, "A bicycle service", ("DE", "FR", "PL")),
    _Brand("Bright Spark Power", "utilities", Reward.PARTNER_OFFER, "Off the next bill", ("GB", "KE", "IN")),
    _Brand("Lumen Mobile", "utilities", Reward.PARTNER_OFFER, "Airtime", ("KE", "IN", "PL")),
    _Brand("Meridian Prepaid", "prepaid", Reward.OPEN_LOOP, "A card that works everywhere", ("US", "CA", "GB", "DE")),
    _Brand("City Circle", "prepaid", Reward.MULTI_BRAND, "One card, fifty shops", ("US", "DE", "FR", "ES")),
    _Brand("Everyday Choice", "prepaid", Reward.MULTI_BRAND, "The recipient picks the shop", _WORLD),
    _Brand("Cash Home", "cashback", Reward.CASHBACK, "Money to your account", ("US", "GB", "DE", "KE")),
    _Brand("Kindred Relief", "charity", Reward.VOUCHER, "A gift to somebody who needs it", ("US", "GB", "JP")),
)


def rewards() -> list[Reward]:
    """One reward for each brand and country, in order of their ids, with one withdrawn and one sold out."""
    made = [_reward(brand, country) for brand in _BRANDS for country in brand.countries]
    made.append(_special("withdrawn-radio", "Tonewell Music", "A radio that is no longer made", Reward.WITHDRAWN))
    made.append(_special("sold-out-lamp", "Tinsel & Twine", "A lamp everybody wanted", Reward.OUT_OF_STOCK))
    return sorted(made, key=lambda reward: reward.reward_id)


def prices() -> list[RewardPrice]:
    """What rewards in other currencies than the program's cost: for them its rate is no price."""
    made = []
    for reward in rewards():
        if reward.currency == "USD":
            continue
        ten = _TEN[reward.currency]
        for denomination in [ten] if reward.HasField("denomination_range") else reward.denominations:
            points = round(denomination / ten * _POINTS_OF_TEN)
            made.append(RewardPrice(reward_id=reward.reward_id, denomination=denomination, points=points))
    return made


def _reward(brand: _Brand, country: str) -> Reward:
    slug = "-".join("".join(c if c.isalnum() else " " for c in brand.name.lower()).split())
    currency = CURRENCY_OF[country]
    ten = _TEN[currency]
    reward = Reward(
        reward_id=f"{slug}-{country.lower()}",
        name=f"{brand.name} {country}",
        description=f"{brand.what}.",
        brand=brand.name,
        category=brand.category,
        kind=brand.kind,
        countries=[country],
        currency=currency,
        images=[f"https://images.rewards.example/{slug}.png"],
        availability=Reward.AVAILABLE,
        terms="Invented for the sandbox; it can be redeemed nowhere.",
    )
    if brand.kind in {Reward.CASHBACK, Reward.OPEN_LOOP}:
        reward.denomination_range.CopyFrom(DenominationRange(min=ten / 2, max=ten * 20, step=ten / 2))
    else:
        reward.denominations.extend([ten / 2, ten, ten * 2.5, ten * 5])
    return reward


def _special(reward_id: str, brand: str, description: str, availability: Reward.Availability.ValueType) -> Reward:
    return Reward(
        reward_id=reward_id,
        name=description,
        description=description,
        brand=brand,
        category="retail",
        kind=Reward.CLOSED_LOOP,
        countries=["US"],
        currency="USD",
        denominations=[10],
        availability=availability,
    )
