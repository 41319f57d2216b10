"""A generated catalog, listed through the real server and held against a plain reading of what was generated."""

import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from rewards.catalog.v1 import rewards_pb2 as pb

from catalog_svc.tests.conftest import PROGRAM, Large
from svckit.testing import headers, partner

PARTNER = headers(partner(PROGRAM, "catalog:read"))
SEARCHES = ("gift card", "GIFT", "fern b", "karta", "Books 1", "cadeau", "1", "zz", "%", "_", "no such words", "s 9")


async def pages(rpc: Any, request: Any) -> AsyncIterator[Any]:
    """Every page of a list."""
    while True:
        answer = await rpc(request, metadata=PARTNER)
        yield answer
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


async def listed(large: Large, **asked: Any) -> list[str]:
    request = pb.ListRewardsRequest(**{"page_size": 500, **asked})
    return [one.reward_id async for page in pages(large.catalog.rewards.ListRewards, request) for one in page.rewards]


def expected(large: Large, **asked: str) -> list[str]:
    names: dict[str, list[str]] = {}
    for text in large.generated.texts:
        names.setdefault(text.reward_id, []).append(text.name)

    def passes(one: pb.Reward) -> bool:
        texts = (one.name, one.brand, *names.get(one.reward_id, ()))
        return (
            asked.get("country", "") in ("", *one.countries)
            and asked.get("category", "") in ("", one.category)
            and asked.get("brand", "") in ("", one.brand)
            and asked.get("currency", "") in ("", one.currency)
            and any(asked.get("q", "").casefold() in text.casefold() for text in texts)
        )

    return sorted(one.reward_id for one in large.generated.rewards if passes(one))


async def test_every_filter_and_any_of_them_together_list_what_was_generated(large: Large) -> None:
    chance, rewards = random.Random(11), large.generated.rewards  # noqa: S311 - the same each time
    of: dict[str, Callable[[pb.Reward], str]] = {
        "country": lambda one: chance.choice(one.countries),
        "category": lambda one: one.category,
        "brand": lambda one: one.brand,
        "currency": lambda one: one.currency,
        "q": lambda _: chance.choice(SEARCHES),
    }
    some = 0
    for _ in range(60):
        # Of one reward and of several, so that some are of something and some are of nothing.
        near, filters = chance.choice(rewards), chance.sample(sorted(of), chance.randint(1, 4))
        asked = {name: of[name](near if chance.random() < 0.8 else chance.choice(rewards)) for name in filters}
        found = await listed(large, **asked)
        assert found == expected(large, **asked), asked
        some += bool(found)
    assert some > 20


@pytest.mark.parametrize("q", SEARCHES)
async def test_a_search_finds_every_reward_that_has_it_and_no_other(large: Large, q: str) -> None:
    assert await listed(large, q=q) == expected(large, q=q)


async def test_pages_of_any_size_are_the_same_list(large: Large) -> None:
    whole = [one.reward_id for one in sorted(large.generated.rewards, key=lambda one: one.reward_id)]
    for size in (7, 50, 499):
        asked = {"country": "US", "page_size": size}
        assert await listed(large, **asked) == expected(large, country="US")
    assert await listed(large) == whole


@pytest.mark.parametrize("country", ["", "US", "EE", "AQ"])
async def test_brands_and_categories_are_those_of_what_is_on_sale(large: Large, country: str) -> None:
    counted: dict[str, dict[str, int]] = {"brand": {}, "category": {}}
    for one in large.generated.rewards:
        if one.availability != pb.Reward.WITHDRAWN and country in ("", *one.countries):
            for name, counts in counted.items():
                value = getattr(one, name)
                counts[value] = counts.get(value, 0) + 1
    rewards = large.catalog.rewards
    brands = pages(rewards.ListBrands, pb.ListBrandsRequest(country=country, page_size=300))
    assert [(b.brand, b.rewards) async for page in brands for b in page.brands] == sorted(counted["brand"].items())
    categories = pages(rewards.ListCategories, pb.ListCategoriesRequest(country=country, page_size=5))
    found = [(c.category, c.rewards) async for page in categories for c in page.categories]
    assert found == sorted(counted["category"].items())
