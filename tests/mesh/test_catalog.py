"""The catalog as partners read it over REST, and as an operator keeps it up at a terminal."""

import json
from typing import Any

import aiohttp
import pytest

from devmesh.mesh import Mesh
from fulfillment_svc.providers.sandbox import feed
from tests.mesh.conftest import Api
from tests.mesh.test_commands import typed

SYNC = ("sync", "--program-id", "sandbox-globex", "--provider", "sandbox")


@pytest.fixture
async def feed_url(mesh: Mesh) -> str:
    return f"http://{mesh.layout.address('provider')}/catalog"


async def listed(api: Api, path: str) -> list[dict[str, Any]]:
    """Every entry of a list, page by page."""
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        answer = await api.call("GET", f"{path}pageToken={token}")
        assert answer.status == 200, answer
        (entries,) = (value for value in answer.result.values() if isinstance(value, list))
        found += entries
        token = answer.result["nextPageToken"]
        if not token:
            return found


async def test_a_partner_finds_what_can_be_had(api: Api) -> None:
    german = await listed(api, "/v1/rewards?country=DE&pageSize=3&")
    assert {"DE"} == {country for one in german for country in one["countries"]}
    brands = await listed(api, "/v1/brands?country=DE&pageSize=4&")
    assert [(one["brand"], one["rewards"]) for one in brands] == sorted((one["brand"], 1) for one in german)
    categories = await listed(api, "/v1/categories?")
    assert {"retail", "food", "travel", "cashback"} <= {one["category"] for one in categories}
    found = await listed(api, "/v1/rewards?q=PERLEAF%20cof&country=US&")
    assert [one["rewardId"] for one in found] == ["copperleaf-coffee-us"]
    assert (await api.call("GET", "/v1/brands?country=UK")).code == 1000


async def test_availability_is_price_and_stock_by_itself(api: Api, http: aiohttp.ClientSession) -> None:
    answer = await api.call("GET", "/v1/rewards:availability?ids=sold-out-lamp,copperleaf-coffee-us&ids=nobodys")
    assert [(one["rewardId"], one["availability"]) for one in answer.result["rewards"]] == [
        ("copperleaf-coffee-us", "AVAILABLE"),
        ("sold-out-lamp", "OUT_OF_STOCK"),
    ]
    coffee = answer.result["rewards"][0]
    assert set(coffee) == {"rewardId", "version", "availability", "limited", "unitsLeft", "pointCost"}
    assert coffee["pointCost"][0] == {"denomination": 5, "points": 400}
    headers = {"authorization": f"Bearer {api.token}", "if-none-match": answer.headers["etag"]}
    path = "/v1/rewards:availability?ids=copperleaf-coffee-us,sold-out-lamp"
    async with http.get(path, headers=headers) as again:
        assert (again.status, await again.read()) == (304, b"")
    assert (await api.call("GET", "/v1/rewards:availability")).code == 1000


# Each command is a Python of its own, which takes a second to start, and more where all else runs as well.
@pytest.mark.timeout(300)
async def test_an_operator_brings_the_catalog_in_line_with_a_provider(mesh: Mesh, tireless: Api, feed_url: str) -> None:
    would = await typed(mesh, *SYNC, "--dry-run", service="catalog_svc")
    assert (would["sync"]["state"], would["sync"]["added"], would["sync"]["rejected"]) == ("DONE", 3, 1)
    assert (await tireless.call("GET", "/v1/rewards/harvest-cash-us")).code == 5001
    done = await typed(mesh, *SYNC, service="catalog_svc")
    assert done["changes"] == would["changes"]
    assert done["changes"][0] == {
        "rewardId": "harvest-cash-gb",
        "action": "REJECTED",
        "reason": "entry.countries[0] is not an ISO 3166-1 alpha-2 code",
    }
    cash = (await tireless.call("GET", "/v1/rewards/harvest-cash-us")).result
    costs = [(cost["denomination"], cost["points"]) for cost in cash["pointCost"]]
    assert costs == [(5, 425), (50, 4_000), (100, 7_500), (200, 15_000)]
    tea = (await tireless.call("GET", "/v1/rewards/lakeside-tea-us?language=es-MX")).result
    assert (tea["name"], tea["language"]) == ("Tarjeta regalo Lakeside Tea", "es")
    kettle = (await tireless.call("GET", "/v1/rewards:availability?ids=lakeside-kettle-us")).result["rewards"]
    assert [(one["limited"], one["unitsLeft"]) for one in kettle] == [(True, 12)]
    # A feed of which most is gone is not believed, and what there is stays.
    whole = json.loads(feed._OURS.read_text())
    async with aiohttp.ClientSession() as provider:
        await provider.put(feed_url, json={"rewards": whole["rewards"][:1]})
        assert await typed(mesh, *SYNC, code=1, service="catalog_svc") == ""
        assert (await tireless.call("GET", "/v1/rewards/harvest-cash-us")).result["availability"] == "AVAILABLE"
        forced = await typed(mesh, *SYNC, "--force", service="catalog_svc")
        await provider.put(feed_url, json=whole)
    assert [change["action"] for change in forced["changes"]] == ["WITHDRAWN", "WITHDRAWN"]
    assert (await tireless.call("GET", "/v1/rewards/harvest-cash-us")).result["availability"] == "WITHDRAWN"
    again = await typed(mesh, *SYNC, service="catalog_svc")
    assert (again["sync"]["changed"], again["sync"]["unchanged"]) == (2, 1)
    assert "NOT_FOUND" in await typed(mesh, *SYNC[:-1], "south", code=1, service="catalog_svc")
