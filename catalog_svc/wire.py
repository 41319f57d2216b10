"""Protobuf to rewards and back. Amounts are decimal major units outside and integer minor units inside."""

from collections.abc import Iterable, Sequence

from rewards.catalog.v1 import rewards_pb2 as pb

from catalog_svc.countries import COUNTRIES
from catalog_svc.rules import MAX_EXACT, Availability, Filters, Price, Quote, Range, Rate, Reward, points
from svckit.errors import invalid
from svckit.money import major, minor


def filters(request: pb.ListRewardsRequest) -> Filters:
    """What a listing asks for. Raises INVALID_REQUEST for a country that there is not, such as "UK" (G74)."""
    if request.country:
        _check_country(request.country, "country")
    return Filters(request.country, request.category, request.brand, request.currency, request.q)


def rewards(request: pb.PutRewardsRequest) -> list[Reward]:
    """The rewards to store, each with its own prices. Raises INVALID_REQUEST naming the field that is wrong."""
    names = [message.reward_id for message in request.rewards]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise invalid(**{f"rewards[{index}].rewardId": "stands here twice"})
    priced: dict[str, list[tuple[str, pb.RewardPrice]]] = {name: [] for name in names}
    for index, price in enumerate(request.prices):
        if price.reward_id not in priced:
            raise invalid(**{f"prices[{index}].rewardId": "is not among the rewards"})
        priced[price.reward_id].append((f"prices[{index}].denomination", price))
    return [
        _reward(f"rewards[{index}]", message, priced[message.reward_id])
        for index, message in enumerate(request.rewards)
    ]


def _reward(field: str, message: pb.Reward, prices: Iterable[tuple[str, pb.RewardPrice]]) -> Reward:
    currency = message.currency
    for index, country in enumerate(message.countries):
        _check_country(country, f"{field}.countries[{index}]")
    return Reward(
        reward_id=message.reward_id,
        name=message.name,
        description=message.description,
        brand=message.brand,
        category=message.category,
        kind=pb.Reward.Kind.Name(message.kind),
        countries=tuple(sorted(message.countries)),
        currency=currency,
        denominations_minor=_denominations(f"{field}.denominations", message.denominations, currency),
        range=_range(f"{field}.denominationRange", message, currency),
        prices=_prices(prices, currency),
        images=tuple(message.images),
        availability=_availability(message),
        terms=message.terms,
    )


def _check_country(country: str, field: str) -> None:
    if country not in COUNTRIES:
        raise invalid(**{field: "is not an ISO 3166-1 alpha-2 code"})


def _denominations(field: str, amounts: Sequence[float], currency: str) -> tuple[int, ...]:
    return tuple(sorted(minor(amount, currency, f"{field}[{index}]") for index, amount in enumerate(amounts)))


def _prices(prices: Iterable[tuple[str, pb.RewardPrice]], currency: str) -> tuple[Price, ...]:
    found = (Price(minor(price.denomination, currency, field), price.points) for field, price in prices)
    return tuple(sorted(found, key=lambda price: price.denomination_minor))


def _range(field: str, message: pb.Reward, currency: str) -> Range | None:
    if not message.HasField("denomination_range"):
        return None
    sent = message.denomination_range
    return Range(
        min_minor=minor(sent.min, currency, f"{field}.min"),
        max_minor=minor(sent.max, currency, f"{field}.max"),
        step_minor=minor(sent.step, currency, f"{field}.step"),
    )


def _availability(message: pb.Reward) -> Availability:
    stated = message.availability or pb.Reward.AVAILABLE
    return Availability(pb.Reward.Availability.Name(stated))


def message(reward: Reward, rate: Rate) -> pb.Reward:
    """A reward as partners see it, priced at the program's rate of now."""
    currency = reward.currency
    shown = pb.Reward(
        reward_id=reward.reward_id,
        version=reward.version,
        name=reward.name,
        description=reward.description,
        brand=reward.brand,
        category=reward.category,
        kind=pb.Reward.Kind.Value(reward.kind),
        countries=reward.countries,
        currency=currency,
        denominations=[major(amount, currency) for amount in reward.denominations_minor],
        images=reward.images,
        availability=pb.Reward.Availability.Value(reward.availability),
        terms=reward.terms,
    )
    if reward.range is not None:
        shown.denomination_range.min = major(reward.range.min_minor, currency)
        shown.denomination_range.max = major(reward.range.max_minor, currency)
        shown.denomination_range.step = major(reward.range.step_minor, currency)
    for amount in reward.shown_denominations_minor:
        cost = points(reward, amount, rate)
        if cost is not None and cost <= MAX_EXACT:
            shown.point_cost.add(denomination=major(amount, currency), points=cost)
    return shown


def quote_reply(reward: Reward, quote: Quote) -> pb.QuoteRewardResponse:
    """A quote, pinned to the version that it is of."""
    return pb.QuoteRewardResponse(
        version=reward.version,
        points=quote.points,
        value_minor=quote.value_minor,
        currency=reward.currency,
        brand=reward.brand,
        name=reward.name,
    )
