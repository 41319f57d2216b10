"""Protobuf to rewards and back. Amounts are decimal major units outside and integer minor units inside."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

from rewards.catalog.v1 import rewards_pb2 as pb

from catalog_svc import fees as fee_schedule
from catalog_svc.countries import COUNTRIES
from catalog_svc.rules import (
    MAX_EXACT,
    Availability,
    Choice,
    Filters,
    Menu,
    Price,
    Quote,
    Range,
    Rate,
    Reward,
    Text,
    points,
)
from svckit.errors import invalid
from svckit.money import major, minor
from svckit.programs import Program

IDS_MAX: Final = 500

Part = TypeVar("Part", pb.RewardPrice, pb.RewardText)


def filters(request: pb.ListRewardsRequest) -> Filters:
    """What a listing asks for. Raises INVALID_REQUEST for a country that there is not, such as "UK" (G74)."""
    return Filters(country(request), request.category, request.brand, request.currency, request.q)


def country(
    request: pb.ListRewardsRequest | pb.ListBrandsRequest | pb.ListCategoriesRequest | pb.ListOffersRequest,
) -> str:
    """The country that is asked for, or "". Raises INVALID_REQUEST as `filters` does."""
    if request.country:
        _check_country(request.country, "country")
    return request.country


def menu(request: pb.ListMenuRequest) -> Menu:
    """What a recipient may choose from."""
    choices = tuple(
        Choice(
            kind=pb.Reward.Kind.Name(choice.kind) if choice.kind else "",
            brands=tuple(brand.lower() for brand in choice.brands),
            categories=tuple(choice.categories),
        )
        for choice in request.menu.choices
    )
    return Menu(choices, request.currency, request.country, tuple(request.menu.countries), request.reward_id)


def reward_ids(request: pb.GetAvailabilityRequest) -> set[str]:
    """Which rewards are asked about. Raises INVALID_REQUEST for more than IDS_MAX."""
    found = {name for given in request.ids for name in given.split(",")}
    if len(found) > IDS_MAX:
        raise invalid(ids=f"must be {IDS_MAX} at most")
    return found


def rates(request: pb.PutRatesRequest, own: str) -> dict[str, Price]:
    """What currencies cost. Raises INVALID_REQUEST for one that stands there twice, or the program's `own`."""
    found: dict[str, Price] = {}
    for index, rate in enumerate(request.rates):
        if rate.currency == own:
            raise invalid(**{f"rates[{index}].currency": "is the program's own, whose rate is in its settings"})
        if rate.currency in found:
            raise invalid(**{f"rates[{index}].currency": "stands here twice"})
        found[rate.currency] = Price(minor(rate.amount, rate.currency, f"rates[{index}].amount"), rate.points)
    return found


def rewards(request: pb.PutRewardsRequest) -> list[Reward]:
    """The rewards to store, each with its own prices and texts. Raises INVALID_REQUEST naming the wrong field."""
    names = [message.reward_id for message in request.rewards]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise invalid(**{f"rewards[{index}].rewardId": "stands here twice"})
    priced, told = _by_reward(names, "prices", request.prices), _by_reward(names, "texts", request.texts)
    return [
        reward(f"rewards[{index}]", message, priced[message.reward_id], told[message.reward_id])
        for index, message in enumerate(request.rewards)
    ]


def _by_reward(names: Sequence[str], field: str, parts: Iterable[Part]) -> dict[str, list[tuple[str, Part]]]:
    found: dict[str, list[tuple[str, Part]]] = {name: [] for name in names}
    for index, part in enumerate(parts):
        if part.reward_id not in found:
            raise invalid(**{f"{field}[{index}].rewardId": "is not among the rewards"})
        found[part.reward_id].append((f"{field}[{index}]", part))
    return found


def reward(
    field: str,
    message: pb.Reward,
    prices: Iterable[tuple[str, pb.RewardPrice]],
    texts: Iterable[tuple[str, pb.RewardText]],
) -> Reward:
    """A reward as it was sent, with its prices and texts, each beside its field's name. Raises INVALID_REQUEST."""
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
        texts=_texts(texts),
    )


def _check_country(country: str, field: str) -> None:
    if country not in COUNTRIES:
        raise invalid(**{field: "is not an ISO 3166-1 alpha-2 code"})


def _denominations(field: str, amounts: Sequence[float], currency: str) -> tuple[int, ...]:
    return tuple(sorted(minor(amount, currency, f"{field}[{index}]") for index, amount in enumerate(amounts)))


def _prices(prices: Iterable[tuple[str, pb.RewardPrice]], currency: str) -> tuple[Price, ...]:
    found = (
        Price(minor(price.denomination, currency, f"{field}.denomination"), price.points) for field, price in prices
    )
    return tuple(sorted(found, key=lambda price: price.denomination_minor))


def _texts(texts: Iterable[tuple[str, pb.RewardText]]) -> tuple[Text, ...]:
    found: dict[str, Text] = {}
    for field, text in texts:
        if text.language.lower() in found:
            raise invalid(**{f"{field}.language": "stands here twice"})
        found[text.language.lower()] = Text(text.language, text.name, text.description, text.terms)
    return tuple(sorted(found.values(), key=lambda text: text.language))


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


def message(reward: Reward, rate: Rate, language: str = "") -> pb.Reward:
    """A reward as partners see it, priced at the program's rate of now, in the language where it is in it."""
    currency, text = reward.currency, reward.text(language)
    shown = pb.Reward(
        reward_id=reward.reward_id,
        version=reward.version,
        name=text.name,
        description=text.description,
        brand=reward.brand,
        category=reward.category,
        kind=pb.Reward.Kind.Value(reward.kind),
        countries=reward.countries,
        currency=currency,
        denominations=[major(amount, currency) for amount in reward.denominations_minor],
        point_cost=_costs(reward, rate),
        images=reward.images,
        availability=pb.Reward.Availability.Value(reward.standing),
        terms=text.terms,
        language=text.language,
    )
    if reward.range is not None:
        shown.denomination_range.min = major(reward.range.min_minor, currency)
        shown.denomination_range.max = major(reward.range.max_minor, currency)
        shown.denomination_range.step = major(reward.range.step_minor, currency)
    return shown


def availability(reward: Reward, rate: Rate) -> pb.RewardAvailability:
    """What changes often about a reward."""
    return pb.RewardAvailability(
        reward_id=reward.reward_id,
        version=reward.version,
        availability=pb.Reward.Availability.Value(reward.standing),
        limited=reward.units_left is not None,
        units_left=reward.units_left or 0,
        point_cost=_costs(reward, rate),
    )


def offer(row: Any) -> pb.Offer:
    """What a brand has in one kind and currency."""
    return pb.Offer(**row._asdict() | {"kind": pb.Reward.Kind.Value(row.kind)})


def _costs(reward: Reward, rate: Rate) -> list[pb.PointCost]:
    costs = ((amount, points(reward, amount, rate)) for amount in reward.shown_denominations_minor)
    return [
        pb.PointCost(denomination=major(amount, reward.currency), points=cost)
        for amount, cost in costs
        if cost is not None and cost <= MAX_EXACT
    ]


def fees(program: Program) -> dict[str, fee_schedule.Rate]:
    """What a program pays on face values, by currency."""
    return {fee.currency: fee_schedule.Rate(fee.basis_points, fee.fixed_minor) for fee in program.policy.fees}


def quote_request(program_id: str, request: pb.CreateQuoteRequest) -> pb.QuoteRewardRequest:
    """What a partner asks for, as a saga would."""
    return pb.QuoteRewardRequest(
        program_id=program_id,
        reward_id=request.reward_id,
        denomination=request.denomination,
        quantity=request.quantity if request.HasField("quantity") else 1,
        country=request.country,
    )


def public_quote(quote: pb.QuoteRewardResponse) -> pb.CreateQuoteResponse:
    """A quote as a partner reads it."""
    return pb.CreateQuoteResponse(
        version=quote.version,
        points=quote.points,
        currency=quote.currency,
        value=major(quote.value_minor, quote.currency),
        fees=major(quote.fees_minor, quote.currency),
    )


def quote_reply(reward: Reward, quote: Quote, fees_minor: int) -> pb.QuoteRewardResponse:
    """A quote, pinned to the version that it is of."""
    return pb.QuoteRewardResponse(
        version=reward.version,
        points=quote.points,
        value_minor=quote.value_minor,
        currency=reward.currency,
        brand=reward.brand,
        name=reward.name,
        limited=reward.units_left is not None,
        kind=pb.Reward.Kind.Value(reward.kind),
        fees_minor=fees_minor,
    )
