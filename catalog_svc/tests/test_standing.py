"""What changes often about a reward, and what it was quoted at: availability, withdrawals, versions, rates, tiers."""

from typing import Any

import psycopg
import pytest
from rewards.catalog.v1 import rewards_pb2 as pb
from sqlalchemy import select

from catalog_svc.tables import withdrawals
from catalog_svc.tests.conftest import OPERATOR, PROGRAM, Catalog, refusal_of, reward
from svckit.errors import Reason
from svckit.testing import headers, partner

PARTNER = headers(partner(PROGRAM, "catalog:read"))


async def available(catalog: Catalog, *ids: str, none_match: str = "") -> tuple[pb.GetAvailabilityResponse, Any]:
    call = catalog.rewards.GetAvailability(
        pb.GetAvailabilityRequest(ids=ids), metadata=(*PARTNER, ("if-none-match", none_match))
    )
    answer = await call
    return answer, dict(await call.initial_metadata() or ())


async def withdraw(catalog: Catalog, *ids: str) -> int:
    request = pb.WithdrawRewardsRequest(program_id=PROGRAM, reward_ids=ids, reason="Recalled")
    return (await catalog.catalog.WithdrawRewards(request, metadata=OPERATOR)).changed


async def restore(catalog: Catalog, *ids: str) -> int:
    request = pb.RestoreRewardsRequest(program_id=PROGRAM, reward_ids=ids, reason="Safe again")
    return (await catalog.catalog.RestoreRewards(request, metadata=OPERATOR)).changed


async def quote(catalog: Catalog, reward_id: str = "a", denomination: float = 25, **more: Any) -> Any:
    request = pb.QuoteRewardRequest(program_id=PROGRAM, reward_id=reward_id, denomination=denomination, quantity=1)
    request.MergeFrom(pb.QuoteRewardRequest(**more))
    return await catalog.quotes.QuoteReward(request)


async def test_availability_says_what_changes_often_and_nothing_of_others(catalog: Catalog) -> None:
    await catalog.put(reward("a", denominations=[10]), reward("b"), reward("c", availability=pb.Reward.OUT_OF_STOCK))
    answer, told = await available(catalog, "c,a", "nobodys")
    assert answer.rewards == [
        pb.RewardAvailability(
            reward_id="a",
            version=1,
            availability=pb.Reward.AVAILABLE,
            point_cost=[pb.PointCost(denomination=10, points=800)],
        ),
        answer.rewards[1],
    ]
    assert (answer.rewards[1].reward_id, answer.rewards[1].availability) == ("c", pb.Reward.OUT_OF_STOCK)
    await catalog.put(reward("b", name="Another"))
    same, after = await available(catalog, "c", "a,nobodys", none_match=told["etag"])
    assert (len(same.rewards), after["x-rewards-not-modified"]) == (0, "1")
    await catalog.put(reward("a", denominations=[10], name="Another"))
    changed, _ = await available(catalog, "a", "c", none_match=told["etag"])
    assert [one.version for one in changed.rewards] == [2, 1]


async def test_more_ids_than_one_call_takes_are_refused(catalog: Catalog) -> None:
    refusal = await refusal_of(available(catalog, *(",".join(f"r{n}-{m}" for n in range(51)) for m in range(10))))
    assert (refusal.reason, refusal.message) == (Reason.INVALID_REQUEST, "ids must be 500 at most")


async def test_a_withdrawal_holds_until_a_person_restores_it(catalog: Catalog) -> None:
    await catalog.put(reward("a"), reward("b"))
    assert (await withdraw(catalog, "a", "b"), await withdraw(catalog, "a")) == (2, 0)
    assert (await refusal_of(quote(catalog))).reason == Reason.REWARD_UNAVAILABLE
    await catalog.put(reward("a", name="As its provider has it now"))
    shown = await catalog.rewards.GetReward(pb.GetRewardRequest(reward_id="a"), metadata=PARTNER)
    assert (shown.reward.availability, shown.reward.name) == (pb.Reward.WITHDRAWN, "As its provider has it now")
    brands = await catalog.rewards.ListBrands(pb.ListBrandsRequest(), metadata=PARTNER)
    assert brands.brands == []
    assert (await restore(catalog, "a"), await restore(catalog, "a")) == (1, 0)
    assert (await quote(catalog)).points == 2_000
    brands = await catalog.rewards.ListBrands(pb.ListBrandsRequest(), metadata=PARTNER)
    assert brands.brands == [pb.Brand(brand="Baltic Books", rewards=1)]
    kept = withdrawals.c
    async with catalog.db.read() as tx:
        rows = await tx.execute(
            select(kept.reward_id, kept.withdrawn, kept.reason, kept.actor).order_by(kept.at, "reward_id")
        )
        told = sorted(tuple(row) for row in rows)
    assert told == [("a", False, "Safe again", "op"), ("a", True, "Recalled", "op"), ("b", True, "Recalled", "op")]


async def test_withdrawing_what_there_is_not_changes_nothing(catalog: Catalog) -> None:
    await catalog.put(reward("a"))
    assert (await refusal_of(withdraw(catalog, "a", "nobodys"))).reason == Reason.REWARD_NOT_FOUND
    assert (await quote(catalog)).version == 1


async def test_an_order_keeps_what_it_was_quoted_or_is_told(catalog: Catalog) -> None:
    prices = [pb.RewardPrice(reward_id="a", denomination=d, points=p) for d, p in ((10, 700), (25, 1_900), (50, 3_900))]
    await catalog.put(reward("a"))
    await catalog.put(reward("a", name="Renamed"))
    quoted = await quote(catalog, version=1, points=2_000)
    assert (quoted.version, quoted.name, quoted.points) == (2, "Renamed", 2_000)
    await catalog.put(reward("a", name="Renamed"), prices=tuple(prices))
    assert (await refusal_of(quote(catalog, version=2))).reason == Reason.PRICE_CHANGED
    assert (await quote(catalog, version=3)).points == 1_900
    await catalog.put(reward("a", denominations=[10, 50]), prices=(prices[0], prices[2]))
    assert (await refusal_of(quote(catalog, version=3))).reason == Reason.PRICE_CHANGED
    assert (await quote(catalog, denomination=10, version=3)).points == 700
    assert (await refusal_of(quote(catalog, denomination=10, version=9))).reason == Reason.PRICE_CHANGED
    assert (await refusal_of(quote(catalog))).reason == Reason.DENOMINATION_INVALID


async def test_a_rate_that_moved_is_another_price(catalog: Catalog) -> None:
    await catalog.put(reward("a"))
    await catalog.set_program(version=2, points_per_unit=81)
    assert (await refusal_of(quote(catalog, version=1, points=2_000))).reason == Reason.PRICE_CHANGED
    assert (await quote(catalog, version=1, points=2_025)).points == 2_025


async def put_rates(catalog: Catalog, *given: pb.CurrencyRate) -> None:
    await catalog.catalog.PutRates(pb.PutRatesRequest(program_id=PROGRAM, rates=given), metadata=OPERATOR)


async def test_other_currencies_have_rates_too(catalog: Catalog) -> None:
    yen = reward("a", currency="JPY", denominations=[1_000, 1_999])
    await put_rates(catalog, pb.CurrencyRate(currency="JPY", amount=1_500, points=800))
    await catalog.put(yen)
    shown = (await catalog.rewards.GetReward(pb.GetRewardRequest(reward_id="a"), metadata=PARTNER)).reward
    assert [cost.points for cost in shown.point_cost] == [534, 1_067]  # 533.3 and 1066.1
    _, told = await available(catalog, "a")
    await put_rates(catalog, pb.CurrencyRate(currency="JPY", amount=1_500, points=900))
    after, _ = await available(catalog, "a", none_match=told["etag"])
    assert [cost.points for cost in after.rewards[0].point_cost] == [600, 1_200]
    await put_rates(catalog)
    assert (await refusal_of(quote(catalog, denomination=1_000))).reason == Reason.REWARD_UNAVAILABLE


@pytest.mark.parametrize("currencies", [("USD",), ("JPY", "JPY")])
async def test_rates_that_say_two_things_are_refused(catalog: Catalog, currencies: tuple[str, ...]) -> None:
    given = [pb.CurrencyRate(currency=currency, amount=1, points=1) for currency in currencies]
    assert (await refusal_of(put_rates(catalog, *given))).reason == Reason.INVALID_REQUEST


async def test_cashback_in_tiers_costs_less_the_more_it_is(catalog: Catalog) -> None:
    cash = reward("a", kind=pb.Reward.CASHBACK, denominations=[])
    cash.denomination_range.CopyFrom(pb.DenominationRange(min=5, max=100, step=5))
    tiers = [pb.RewardPrice(reward_id="a", denomination=d, points=p) for d, p in ((5, 500), (25, 2_400), (50, 4_500))]
    await catalog.put(cash, prices=tuple(tiers))
    shown = (await catalog.rewards.GetReward(pb.GetRewardRequest(reward_id="a"), metadata=PARTNER)).reward
    costs = [(cost.denomination, cost.points) for cost in shown.point_cost]
    assert costs == [(5, 500), (25, 2_400), (50, 4_500), (100, 9_000)]
    for denomination, points in ((5, 500), (20, 2_000), (25, 2_400), (45, 4_320), (50, 4_500), (95, 8_550)):
        assert (await quote(catalog, denomination=denomination)).points == points


async def test_texts_are_in_the_language_asked_for_or_the_next_best(catalog: Catalog) -> None:
    texts = [
        pb.RewardText(reward_id="a", language="de", name="Geschenkkarte", description="Für Leser.", terms="Keine."),
        pb.RewardText(reward_id="a", language="de-CH", name="Geschenkkärtli"),
        pb.RewardText(reward_id="a", language="zh-Hant", name="禮品卡"),
    ]
    request = pb.PutRewardsRequest(program_id=PROGRAM, rewards=[reward("a"), reward("b")], texts=texts)
    await catalog.catalog.PutRewards(request, metadata=OPERATOR)

    async def read(language: str) -> tuple[str, str]:
        asked = pb.GetRewardRequest(reward_id="a", language=language)
        shown = (await catalog.rewards.GetReward(asked, metadata=PARTNER)).reward
        listing = pb.ListRewardsRequest(language=language)
        listed = (await catalog.rewards.ListRewards(listing, metadata=PARTNER)).rewards
        assert (listed[0], listed[1].name, listed[1].language) == (shown, "Baltic Books gift card", "")
        return shown.name, shown.language

    stored = ("Baltic Books gift card", "")
    assert [await read(tag) for tag in ("", "fr", "zh", "zh-Hans")] == [stored] * 4
    assert [await read(tag) for tag in ("de", "de-AT", "DE-at-1996")] == [("Geschenkkarte", "de")] * 3
    assert [await read(tag) for tag in ("de-CH", "de-ch")] == [("Geschenkkärtli", "de-CH")] * 2
    assert await read("zh-Hant-TW") == ("禮品卡", "zh-Hant")
    found = await catalog.rewards.ListRewards(pb.ListRewardsRequest(q="GESCHENKKÄRT"), metadata=PARTNER)
    assert [one.reward_id for one in found.rewards] == ["a"]
    again = await catalog.catalog.PutRewards(request, metadata=OPERATOR)
    del request.texts[1]
    assert (again.changed, (await catalog.catalog.PutRewards(request, metadata=OPERATOR)).changed) == (0, 1)


async def test_a_language_twice_is_refused(catalog: Catalog) -> None:
    texts = [pb.RewardText(reward_id="a", language=tag, name="x") for tag in ("de-CH", "de-ch")]
    request = pb.PutRewardsRequest(program_id=PROGRAM, rewards=[reward("a")], texts=texts)
    refusal = await refusal_of(catalog.catalog.PutRewards(request, metadata=OPERATOR))
    assert refusal.message == "texts[1].language stands here twice"


async def test_a_listing_that_is_known_reads_no_page(catalog: Catalog) -> None:
    await catalog.put(reward("a"))
    call = catalog.rewards.ListRewards(pb.ListRewardsRequest(), metadata=PARTNER)
    await call
    tag = str(dict(await call.initial_metadata() or ())["etag"])
    # Without the pages' tables only what is known already can be answered.
    async with catalog.db.read() as tx:
        url = tx.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    with psycopg.connect(url.replace("catalog_runtime@", "catalog_owner@"), autocommit=True) as owner:
        owner.execute("ALTER TABLE rewards RENAME TO hidden")
        owner.execute("ALTER TABLE reward_places RENAME TO hidden_too")
    known = (*PARTNER, ("if-none-match", tag))
    assert await catalog.rewards.ListRewards(pb.ListRewardsRequest(), metadata=known) == pb.ListRewardsResponse()
    unread = pb.ListRewardsRequest(page_size=7)
    assert (await refusal_of(catalog.rewards.ListRewards(unread, metadata=PARTNER))).reason == Reason.INTERNAL
