"""The figures of bulk calls: postings a second against what PostgreSQL does without any of this."""

import secrets
from collections.abc import Awaitable, Callable

from bench import tpcb
from bench.figures import Figure, against
from bench.ledger import Bench
from bench.requests import bulk, spread

RUNS = 3
# Items of a call, calls, and how many of them are in flight.
SIZES = {1: (1_500, 16), 100: (60, 4), 500: (20, 2)}


async def measure(bench: Bench) -> list[Figure]:
    """PostBatch of each size against TPC-B, all of them in each run."""
    await tpcb.prepare(bench.postgres)
    rates: dict[int, list[float]] = {size: [] for size in SIZES}
    baselines = []
    for _ in range(RUNS):
        for size in SIZES:
            rates[size].append(await _rate(bench, size))
        baselines.append(await tpcb.best(bench.postgres))
    return [against(f"postbatch_{size}_vs_tpcb", "postings/s", rates[size], baselines) for size in SIZES]


async def _rate(bench: Bench, size: int) -> float:
    """Accepted postings a second. Raises RuntimeError if one was not."""
    count, in_flight = SIZES[size]
    before = await bench.posted()
    result = await bench.send(bench.ledger, bulk(spread(1), size, count, secrets.token_hex(8)), in_flight, count)
    await bench.drained()
    if await bench.posted() != before + size * count:
        raise RuntimeError("an item of a bulk call was not posted")
    return result.rate * size


FIGURES: dict[str, Callable[[Bench], Awaitable[list[Figure]]]] = {"postbatch": measure}
