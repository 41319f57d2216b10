"""The catalog of a large program: a page of it, and word that nothing has changed, against the empty RPC."""

import random
import statistics
from collections.abc import Awaitable, Callable, Sequence

from google.protobuf.message import Message
from rewards.catalog.v1 import rewards_pb2 as pb

from bench.calls import Result, encode
from bench.figures import Figure, against
from bench.ledger import Bench
from bench.requests import Caller, Requests, programs, redemptions, spread
from devmesh.generated_rewards import generate, rates
from svckit import paging
from svckit.call import Kind, Principal
from svckit.testing import headers, partner

SERVER = "catalog_svc"
RUNS = 5
CALLS = 2_000
IN_FLIGHT = 4
PROGRAM = "bench-catalog"
COUNTRIES = ("US", "DE", "GB", "JP", "KE")


async def measure(bench: Bench) -> list[Figure]:
    """The 99th percentiles of pages of 50 rewards from anywhere in the catalog, half of them of one country, and of
    the same calls by who has the pages already; in turn with the empty RPC."""
    catalog = generate()
    await _fill(bench, list(catalog.requests(PROGRAM, size=250)))
    pages = _pages([reward.reward_id for reward in catalog.rewards])
    known = [[*of_page, ("if-none-match", "*")] for of_page in pages.headers]
    asked = {
        "catalog_page": (bench.catalog, pages, SERVER),
        "catalog_unchanged": (bench.catalog, Requests(pages.rpc, pages.peer, pages.bodies, known), SERVER),
        "empty": (bench.empty, redemptions(spread(1)), "ledger_svc"),
    }
    took: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(RUNS):
        for name, (address, requests, server) in asked.items():
            took[name].append(_p99_ms(await bench.send(address, requests, IN_FLIGHT, CALLS, server=server)))
    names = ("catalog_page", "catalog_unchanged")
    return [against(f"{name}_p99_vs_empty_rpc", "ms", took[name], took["empty"]) for name in names]


async def _fill(bench: Bench, goods: Sequence[pb.PutRewardsRequest]) -> None:
    priced = pb.PutRatesRequest(program_id=PROGRAM, rates=rates())
    operator = list(headers(Principal(Kind.OPERATOR, "bench")))
    for requests in (
        programs([Caller(PROGRAM, "")]),
        _requests("CatalogService/PutRates", [priced], operator),
        _requests("CatalogService/PutRewards", goods, operator),
    ):
        await bench.send(bench.catalog, requests, 1, len(requests.bodies), server=SERVER)


def _pages(names: Sequence[str]) -> Requests:
    chance, asked = random.Random(1), []  # noqa: S311 - the same pages in each run
    for number in range(CALLS):
        page = pb.ListRewardsRequest(country=chance.choice(COUNTRIES) if number % 2 else "")
        page.page_token = paging.token(page, chance.choice(names))
        asked.append(page)
    return _requests("RewardsService/ListRewards", asked, list(headers(partner(PROGRAM, "catalog:read"))))


def _requests(rpc: str, messages: Sequence[Message], told: list[tuple[str, str]]) -> Requests:
    bodies = [encode(message.SerializeToString()) for message in messages]
    return Requests(f"/rewards.catalog.v1.{rpc}", "gateway", bodies, [told] * len(bodies))


def _p99_ms(result: Result) -> float:
    return statistics.quantiles(result.took_ms, n=100)[98]


FIGURES: dict[str, Callable[[Bench], Awaitable[list[Figure]]]] = {"catalog": measure}
