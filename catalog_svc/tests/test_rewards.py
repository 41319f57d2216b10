"""Listing and reading rewards through the real server."""

from typing import Any

import pytest
from rewards.catalog.v1 import rewards_pb2 as pb

from catalog_svc.tests.conftest import PROGRAM, Catalog, refusal_of, reward
from svckit.call import Kind, Principal
from svckit.errors import Reason
from svckit.testing import headers, partner

PARTNER = headers(partner(PROGRAM, "catalog:read"))


async def _list(
    catalog: Catalog, none_match: str = "", **request: Any
) -> tuple[pb.ListRewardsResponse, dict[str, str]]:
    asked = catalog.rewards.ListRewards(
        pb.ListRewardsRequest(**request), metadata=(*PARTNER, ("if-none-match", none_match))
    )
    answer = await asked
    return answer, {str(k): str(v) for k, v in await asked.initial_metadata() or ()}


async def _ids(catalog: Catalog, **request: Any) -> list[str]:
    answer, _ = await _list(catalog, **request)
    return [listed.reward_id for listed in answer.rewards]


async def test_a_reward_reads_as_it_was_stored_with_its_cost(catalog: Catalog) -> None:
    stored = reward(description="For readers.", images=["https://images.example/books.png"], terms="None.")
    await catalog.put(stored)
    got = await catalog.rewards.GetReward(pb.GetRewardRequest(reward_id="books-25"), metadata=PARTNER)
    expected = pb.Reward()
    expected.CopyFrom(stored)
    expected.ClearField("countries")
    expected.countries.extend(["DE", "US"])
    expected.version = 1
    expected.availability = pb.Reward.AVAILABLE
    for denomination, points in ((10, 800), (25, 2_000), (50, 4_000)):
        expected.point_cost.add(denomination=denomination, points=points)
    assert got.reward == expected
    listed, _ = await _list(catalog)
    assert list(listed.rewards) == [expected]


async def test_a_range_shows_the_cost_of_its_two_ends(catalog: Catalog) -> None:
    ranged = reward(denominations=[], denomination_range=pb.DenominationRange(min=5, max=20.5, step=0.5))
    await catalog.put(ranged)
    got = (await catalog.rewards.GetReward(pb.GetRewardRequest(reward_id="books-25"), metadata=PARTNER)).reward
    assert got.denomination_range == ranged.denomination_range
    assert [(cost.denomination, cost.points) for cost in got.point_cost] == [(5, 400), (20.5, 1_640)]


async def test_an_unknown_reward_and_another_programs_are_refused_alike(catalog: Catalog) -> None:
    await catalog.set_program(version=1, program_id="other")
    await catalog.put(reward("theirs"), program_id="other")
    refusals = [
        await refusal_of(catalog.rewards.GetReward(pb.GetRewardRequest(reward_id=name), metadata=PARTNER))
        for name in ("theirs", "nobodys")
    ]
    assert {(refusal.reason, refusal.message) for refusal in refusals} == {
        (Reason.REWARD_NOT_FOUND, "There is no such reward.")
    }
    assert await _ids(catalog) == []


async def test_the_filters_of_a_listing(catalog: Catalog) -> None:
    await catalog.put(
        reward("a-books"),
        reward("b-coffee", name="Coffee", brand="100% Bean", category="food", countries=["GB"]),
        reward("c-games", name="Games_box", brand="Playful", category="fun", countries=["GB", "US"]),
        reward("d-euro", currency="EUR", countries=["DE"]),
        prices=tuple(pb.RewardPrice(reward_id="d-euro", denomination=d, points=1_000) for d in (10, 25, 50)),
    )
    assert await _ids(catalog) == ["a-books", "b-coffee", "c-games", "d-euro"]
    assert await _ids(catalog, country="GB") == ["b-coffee", "c-games"]
    assert await _ids(catalog, country="GB", category="fun") == ["c-games"]
    assert await _ids(catalog, brand="Baltic Books", currency="USD") == ["a-books"]
    assert await _ids(catalog, q="BEAN") == ["b-coffee"]
    assert await _ids(catalog, q="games") == ["c-games"]
    # The wildcards of SQL are ordinary characters here.
    assert await _ids(catalog, q="%") == ["b-coffee"]
    assert await _ids(catalog, q="s_b") == ["c-games"]
    assert await _ids(catalog, q="\\") == []


async def test_a_reward_that_moves_is_listed_where_it_is_now(catalog: Catalog) -> None:
    await catalog.put(reward("a"), reward("b"))
    await catalog.put(reward("a", category="food", countries=["GB"], brand="Bean", name="Beans"))
    assert await _ids(catalog, country="US") == await _ids(catalog, category="retail") == ["b"]
    assert await _ids(catalog, country="GB") == await _ids(catalog, category="food", brand="Bean") == ["a"]
    assert (await _ids(catalog, q="beans"), await _ids(catalog, q="Baltic")) == (["a"], ["b"])
    brands = await catalog.rewards.ListBrands(pb.ListBrandsRequest(country="US"), metadata=PARTNER)
    assert [brand.brand for brand in brands.brands] == ["Baltic Books"]


@pytest.mark.parametrize("country", ["UK", "XX"])
async def test_a_country_that_there_is_not_is_refused(catalog: Catalog, country: str) -> None:
    refusal = await refusal_of(catalog.rewards.ListRewards(pb.ListRewardsRequest(country=country), metadata=PARTNER))
    assert (refusal.reason, refusal.message) == (
        Reason.INVALID_REQUEST,
        "country is not an ISO 3166-1 alpha-2 code",
    )


async def test_pages_have_every_reward_once(catalog: Catalog) -> None:
    names = [f"reward-{number:02}" for number in range(7)]
    await catalog.put(*(reward(name) for name in names))
    seen, token = [], ""
    while True:
        answer, _ = await _list(catalog, page_size=3, page_token=token)
        seen.append([listed.reward_id for listed in answer.rewards])
        token = answer.next_page_token
        if not token:
            break
    assert seen == [names[:3], names[3:6], names[6:]]
    exact, _ = await _list(catalog, page_size=7)
    assert exact.next_page_token == ""


async def test_a_token_is_of_its_filters(catalog: Catalog) -> None:
    await catalog.put(reward("a"), reward("b"))
    first, _ = await _list(catalog, page_size=1)
    request = pb.ListRewardsRequest(country="US", page_token=first.next_page_token)
    refusal = await refusal_of(catalog.rewards.ListRewards(request, metadata=PARTNER))
    assert refusal.reason == Reason.INVALID_REQUEST


async def test_an_unchanged_listing_costs_an_empty_answer(catalog: Catalog) -> None:
    await catalog.put(reward("a"), reward("b"))
    full, before = await _list(catalog)
    assert "x-rewards-not-modified" not in before
    unchanged, after = await _list(catalog, none_match=f'"another", {before["etag"]}')
    assert (after["etag"], after["x-rewards-not-modified"]) == (before["etag"], "1")
    assert len(full.rewards) == 2
    assert unchanged == pb.ListRewardsResponse()


async def test_the_tag_changes_with_what_is_listed_and_with_the_rate(catalog: Catalog) -> None:
    await catalog.put(reward("a"), reward("b"))
    tags = [(await _list(catalog))[1]["etag"]]

    async def changed() -> bool:
        answer, received = await _list(catalog, none_match=tags[-1])
        new = "x-rewards-not-modified" not in received
        assert bool(answer.rewards) == new
        tags.append(received["etag"])
        return new

    assert not await changed()
    await catalog.put(reward("b", availability=pb.Reward.WITHDRAWN))
    assert await changed()
    await catalog.put(reward("b", availability=pb.Reward.WITHDRAWN))
    assert not await changed()
    await catalog.put(reward("c"))
    assert await changed()
    await catalog.set_program(version=2, points_per_unit=100)
    assert await changed()
    other_page, _ = await _list(catalog, none_match=tags[-1], page_size=1)
    assert other_page.rewards


async def test_a_new_rate_is_a_new_cost(catalog: Catalog) -> None:
    await catalog.put(reward())
    await catalog.set_program(version=2, points_per_unit=100)
    listed, _ = await _list(catalog)
    assert [cost.points for cost in listed.rewards[0].point_cost] == [1_000, 2_500, 5_000]


async def test_a_cost_that_no_json_number_carries_is_left_out(catalog: Catalog) -> None:
    await catalog.put(reward(denominations=[1, 1_000_000]))
    await catalog.set_program(version=2, points_per_unit=10**12)
    listed, _ = await _list(catalog)
    assert [(cost.denomination, cost.points) for cost in listed.rewards[0].point_cost] == [(1, 10**12)]


async def test_who_may_read(catalog: Catalog) -> None:
    await catalog.put(reward())
    member = headers(Principal(Kind.MEMBER, "c", PROGRAM, member_id="m_1"))
    answer = await catalog.rewards.ListRewards(pb.ListRewardsRequest(), metadata=member)
    assert len(answer.rewards) == 1
    without = headers(partner(PROGRAM, "points:read"))
    refusal = await refusal_of(catalog.rewards.ListRewards(pb.ListRewardsRequest(), metadata=without))
    assert refusal.reason == Reason.PERMISSION_DENIED
