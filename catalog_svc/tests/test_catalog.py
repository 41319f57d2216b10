"""Storing rewards and pricing orders through the real server."""

import asyncio
from typing import Any

import pytest
from rewards.catalog.v1 import rewards_pb2 as pb
from sqlalchemy import delete, select, update
from sqlalchemy.exc import ProgrammingError

from catalog_svc.tables import catalogs, reward_versions
from catalog_svc.tests.conftest import OPERATOR, PROGRAM, Catalog, refusal_of, reward
from svckit.call import Kind, Principal
from svckit.db import Tx
from svckit.errors import Reason
from svckit.testing import headers, partner


def _quote(**changes: Any) -> pb.QuoteRewardRequest:
    order: dict[str, Any] = {"program_id": PROGRAM, "reward_id": "books-25", "denomination": 25, "quantity": 1}
    return pb.QuoteRewardRequest(**{**order, **changes})


async def _versions(catalog: Catalog) -> list[tuple[str, int, str]]:
    kept = reward_versions.c
    async with catalog.db.read() as tx:
        rows = await tx.execute(select(kept.reward_id, kept.version, kept.name).order_by(kept.reward_id, kept.version))
        return [(row.reward_id, row.version, row.name) for row in rows]


async def test_only_a_change_makes_a_version_and_every_version_is_kept(catalog: Catalog) -> None:
    assert await catalog.put(reward("a", name="One"), reward("b", name="B")) == 2
    assert await catalog.put(reward("a", name="One"), reward("b", name="B", denominations=[50, 25, 10])) == 0
    assert await catalog.put(reward("a", name="Two"), reward("b", name="B")) == 1
    assert await catalog.put(reward("a", name="One"), reward("b", name="B")) == 1
    assert await _versions(catalog) == [("a", 1, "One"), ("a", 2, "Two"), ("a", 3, "One"), ("b", 1, "B")]
    async with catalog.db.read() as tx:
        assert await tx.scalar(select(catalogs.c.revision)) == 3


@pytest.mark.parametrize("change", [update(reward_versions).values(name="forged"), delete(reward_versions)])
async def test_a_kept_version_cannot_be_changed_by_the_service(catalog: Catalog, change: Any) -> None:
    await catalog.put(reward())

    async def work(tx: Tx) -> None:
        await tx.execute(change)

    with pytest.raises(ProgrammingError, match="permission denied"):
        await catalog.db.transact(work)


async def test_twenty_writers_of_one_reward_make_one_version_each(catalog: Catalog) -> None:
    changed = await asyncio.gather(*(catalog.put(reward("a", name=f"Name {number}")) for number in range(20)))
    assert sum(changed) == 20
    assert [version for _, version, _ in await _versions(catalog)] == list(range(1, 21))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"countries": ["US", "UK"]}, "rewards[1].countries[1] is not an ISO 3166-1 alpha-2 code"),
        ({"denominations": [10.001]}, "rewards[1].denominations[0] has more decimals than USD has"),
        ({"denominations": []}, "rewards[1] must have either denominations or a denominationRange"),
        ({"denominations": [10, 10]}, "rewards[1] must have each denomination once"),
        (
            {"denomination_range": pb.DenominationRange(min=1, max=2, step=1)},
            "rewards[1] must have either denominations or a denominationRange",
        ),
        (
            {"currency": "KRW"},
            "rewards[1] must have explicit prices, because KRW has no rate in this program",
        ),
        ({"reward_id": "good"}, "rewards[1].rewardId stands here twice"),
    ],
)
async def test_what_cannot_be_sold_is_named_and_nothing_is_stored(
    catalog: Catalog, changes: dict[str, Any], text: str
) -> None:
    bad = reward(**{"reward_id": "bad", **changes})
    request = pb.PutRewardsRequest(program_id=PROGRAM, rewards=[reward("good"), bad])
    refusal = await refusal_of(catalog.catalog.PutRewards(request, metadata=OPERATOR))
    assert (refusal.reason, refusal.message) == (Reason.INVALID_REQUEST, text)
    assert await _versions(catalog) == []


@pytest.mark.parametrize(("least", "most", "step"), [(5, 10, 3), (10, 5, 5), (5, 10.001, 1), (0.015, 1, 0.01)])
async def test_a_range_that_does_not_come_out_is_refused(
    catalog: Catalog, least: float, most: float, step: float
) -> None:
    ranged = reward(denominations=[], denomination_range=pb.DenominationRange(min=least, max=most, step=step))
    request = pb.PutRewardsRequest(program_id=PROGRAM, rewards=[ranged])
    assert (await refusal_of(catalog.catalog.PutRewards(request, metadata=OPERATOR))).reason == Reason.INVALID_REQUEST


async def test_a_price_of_no_reward_is_refused(catalog: Catalog) -> None:
    stray = pb.RewardPrice(reward_id="another", denomination=10, points=5)
    request = pb.PutRewardsRequest(program_id=PROGRAM, rewards=[reward()], prices=[stray])
    refusal = await refusal_of(catalog.catalog.PutRewards(request, metadata=OPERATOR))
    assert refusal.message == "prices[0].rewardId is not among the rewards"


async def test_offers_are_summed_up_by_kind_currency_and_brand(catalog: Catalog) -> None:
    ranged = pb.DenominationRange(min=5, max=500, step=5)
    await catalog.put(
        reward(reward_id="a", denominations=[50, 10]),
        reward(reward_id="b", denominations=[], denomination_range=ranged),
        reward(reward_id="c", brand="Other", kind=pb.Reward.VOUCHER),
        reward(reward_id="d", brand="Gone", availability=pb.Reward.WITHDRAWN),
        reward(reward_id="e", brand="Far", countries=["US"]),
    )

    async def offers(country: str) -> list[pb.Offer]:
        answer = await catalog.quotes.ListOffers(pb.ListOffersRequest(program_id=PROGRAM, country=country))
        return list(answer.offers)

    books = pb.Offer(kind=pb.Reward.CLOSED_LOOP, currency="USD", brand="Baltic Books", min_minor=500, max_minor=50_000)
    found = await offers("DE")
    assert found[0] == books
    assert [(one.kind, one.brand) for one in found] == [
        (pb.Reward.CLOSED_LOOP, "Baltic Books"),
        (pb.Reward.VOUCHER, "Other"),
    ]
    await catalog.catalog.WithdrawRewards(
        pb.WithdrawRewardsRequest(program_id=PROGRAM, reward_ids=["b"], reason="sold"), metadata=OPERATOR
    )
    books.min_minor, books.max_minor = 1_000, 5_000
    assert (await offers("DE"))[0] == books
    assert await offers("AQ") == []
    refusal = await refusal_of(catalog.quotes.ListOffers(pb.ListOffersRequest(program_id=PROGRAM, country="UK")))
    assert refusal.message == "country is not an ISO 3166-1 alpha-2 code"


async def test_a_quote_is_of_the_present_version_and_rate(catalog: Catalog) -> None:
    await catalog.put(reward(name="One"))
    await catalog.put(reward(name="Two"))
    quote = await catalog.quotes.QuoteReward(_quote(quantity=3, country="DE"))
    sold: dict[str, Any] = {"brand": "Baltic Books", "name": "Two", "kind": pb.Reward.CLOSED_LOOP}
    assert quote == pb.QuoteRewardResponse(version=2, points=6_000, value_minor=7_500, currency="USD", **sold)
    await catalog.set_program(version=2, points_per_unit=81)
    assert (await catalog.quotes.QuoteReward(_quote())).points == 2_025


async def test_explicit_prices_and_the_currencys_own_decimals(catalog: Catalog) -> None:
    await catalog.put(
        reward("yen", currency="JPY", denominations=[1_000, 5_000]),
        reward(
            "dinar", currency="BHD", denominations=[], denomination_range=pb.DenominationRange(min=1, max=2, step=0.005)
        ),
        prices=(
            pb.RewardPrice(reward_id="yen", denomination=5_000, points=2_600),
            pb.RewardPrice(reward_id="yen", denomination=1_000, points=540),
            pb.RewardPrice(reward_id="dinar", denomination=1, points=213),
        ),
    )
    yen = await catalog.quotes.QuoteReward(_quote(reward_id="yen", denomination=5_000, quantity=2))
    assert (yen.points, yen.value_minor, yen.currency) == (5_200, 10_000, "JPY")
    dinar = await catalog.quotes.QuoteReward(_quote(reward_id="dinar", denomination=1.005))
    assert (dinar.points, dinar.value_minor) == (215, 1_005)  # 214.065


@pytest.mark.parametrize(
    ("changes", "order", "reason"),
    [
        ({}, {"reward_id": "nothing"}, Reason.REWARD_NOT_FOUND),
        ({"availability": pb.Reward.WITHDRAWN}, {}, Reason.REWARD_UNAVAILABLE),
        ({"availability": pb.Reward.OUT_OF_STOCK}, {}, Reason.OUT_OF_STOCK),
        ({}, {"denomination": 24.99}, Reason.DENOMINATION_INVALID),
        ({}, {"country": "FR"}, Reason.COUNTRY_NOT_SERVED),
        ({}, {"country": "UK"}, Reason.COUNTRY_NOT_SERVED),
        ({}, {"denomination": 25.001}, Reason.INVALID_REQUEST),
        ({"denominations": [9e13]}, {"denomination": 9e13, "quantity": 2}, Reason.AMOUNT_OUT_OF_RANGE),
    ],
)
async def test_an_order_that_cannot_be_had_is_refused(
    catalog: Catalog, changes: dict[str, Any], order: dict[str, Any], reason: Reason.ValueType
) -> None:
    await catalog.put(reward(**changes))
    assert (await refusal_of(catalog.quotes.QuoteReward(_quote(**order)))).reason == reason


async def test_a_program_that_changes_its_currency_stops_selling_by_rate(catalog: Catalog) -> None:
    await catalog.put(reward())
    await catalog.set_program(version=2, currency="KWD")
    assert (await refusal_of(catalog.quotes.QuoteReward(_quote()))).reason == Reason.REWARD_UNAVAILABLE


async def test_who_may_store_and_quote(catalog: Catalog) -> None:
    request = pb.PutRewardsRequest(program_id=PROGRAM, rewards=[reward()])
    for caller in (headers(partner(PROGRAM, "catalog:read")), headers(Principal(Kind.MEMBER, "c", PROGRAM))):
        refusal = await refusal_of(catalog.catalog.PutRewards(request, metadata=caller))
        assert refusal.reason == Reason.PERMISSION_DENIED
    refusal = await refusal_of(catalog.catalog.QuoteReward(_quote(), metadata=OPERATOR))
    assert refusal.reason == Reason.PERMISSION_DENIED
