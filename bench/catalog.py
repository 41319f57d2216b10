"""The catalog of a large program against the empty RPC: its pages, the same right after a change, and word that nothing
has changed."""

import random
import statistics
from collections.abc import Awaitable, Callable, Sequence

from google.protobuf.message import Message
from rewards.catalog.v1 import rewards_pb2 as pb

from bench.calls import encode
from bench.figures import Figure, against
from bench.ledger import Bench
from bench.requests import Caller, Requests, programs, redemptions, spread
from devmesh.generated_rewards import generate, rates
from svckit import paging
from svckit.call import Kind, Principal
from svckit.testing import headers, partner

SERVER = "catalog_svc"
RUNS = 3
CALLS = 2_000
IN_FLIGHT = 4
PROGRAM = "bench-catalog"
Told = list[tuple[str, str]]
_OPERATOR: Told = list(headers(Principal(Kind.OPERATOR, "bench")))
_RATES = pb.PutRatesRequest(program_id=PROGRAM, rates=rates())
COUNTRIES = ("US", "DE", "GB", "JP", "KE")


async def measure(bench: Bench) -> list[Figure]:
    """The 99th percentiles of reading the catalog's pages, of 50 rewards each, all over again and for the first time
    after a change, and of asking for them with what is known; in turn with the empty RPC."""
    catalog = generate()
    await _fill(bench, list(catalog.requests(PROGRAM, size=250)))
    pages = _pages(sorted(reward.reward_id for reward in catalog.rewards))
    known = Requests(pages.rpc, pages.peer, pages.bodies, [[*of, ("if-none-match", "*")] for of in pages.headers])
    took: dict[str, list[float]] = {"page": [], "page_after_change": [], "unchanged": [], "empty": []}

    async def run(name: str, address: str, requests: Requests, server: str, calls: int = CALLS) -> None:
        result = await bench.send(address, requests, IN_FLIGHT, calls, server=server)
        took[name].append(statistics.quantiles(result.took_ms, n=100)[98])

    for _ in range(RUNS):
        await _send(bench, "CatalogService/PutRates", [_RATES], _OPERATOR)
        await run("page_after_change", bench.catalog, pages, SERVER, len(pages.bodies))
        await run("page", bench.catalog, pages, SERVER)
        await run("unchanged", bench.catalog, known, SERVER)
        await run("empty", bench.empty, redemptions(spread(1)), "ledger_svc")
    empty = took.pop("empty")
    return [against(f"catalog_{name}_p99_vs_empty_rpc", "ms", values, empty) for name, values in took.items()]


async def _fill(bench: Bench, goods: Sequence[pb.PutRewardsRequest]) -> None:
    known = programs([Caller(PROGRAM, "")])
    await bench.send(bench.catalog, known, 1, len(known.bodies), server=SERVER)
    await _send(bench, "CatalogService/PutRates", [_RATES], _OPERATOR)
    await _send(bench, "CatalogService/PutRewards", goods, _OPERATOR)


async def _send(bench: Bench, rpc: str, messages: Sequence[Message], told: Told) -> None:
    requests = _requests(rpc, messages, told)
    await bench.send(bench.catalog, requests, 1, len(requests.bodies), server=SERVER)


def _pages(names: Sequence[str]) -> Requests:
    """Every page of the whole catalog, and as many of single countries."""
    chance, asked = random.Random(1), []  # noqa: S311 - the same pages in each run
    for after in names[::50]:
        for country in ("", chance.choice(COUNTRIES)):
            page = pb.ListRewardsRequest(country=country)
            page.page_token = paging.token(page, after)
            asked.append(page)
    return _requests("RewardsService/ListRewards", asked, list(headers(partner(PROGRAM, "catalog:read"))))


def _requests(rpc: str, messages: Sequence[Message], told: Told) -> Requests:
    bodies = [encode(message.SerializeToString()) for message in messages]
    return Requests(f"/rewards.catalog.v1.{rpc}", "gateway", bodies, [told] * len(bodies))


FIGURES: dict[str, Callable[[Bench], Awaitable[list[Figure]]]] = {"catalog": measure}
