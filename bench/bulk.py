"""The figures of bulk calls: postings a second against what PostgreSQL does without any of this."""

import secrets
import time
from collections.abc import Awaitable, Callable

from bench import tpcb
from bench.figures import Figure, against
from bench.ledger import Bench
from bench.requests import bulk, spread

RUNS = 3
# Items of a call, calls, and how many of them are in flight at each ledger.
SIZES = {1: (1_500, 16), 100: (60, 4), 500: (40, 4)}


async def measure(bench: Bench) -> list[Figure]:
    """PostBatch of each size against TPC-B, all of them in each run, by one ledger, which has one core, and by two.

    A burst is posted before its events are handed over, so that its rate is shown both ways: until it is acknowledged,
    and until the outbox is empty.
    """
    await tpcb.prepare(bench.postgres)
    rates: dict[str, list[float]] = {}
    baselines = []
    for _ in range(RUNS):
        for size in SIZES:
            for ledgers, address in (("", bench.ledger), ("_two_ledgers", bench.both)):
                acknowledged, drained = await _rates(bench, size, address)
                rates.setdefault(f"postbatch_{size}{ledgers}", []).append(acknowledged)
                rates.setdefault(f"postbatch_{size}{ledgers}_until_drained", []).append(drained)
        baselines.append(await tpcb.best(bench.postgres))
    return [against(f"{name}_vs_tpcb", "postings/s", values, baselines) for name, values in rates.items()]


async def _rates(bench: Bench, size: int, address: str) -> tuple[float, float]:
    """Accepted postings a second, acknowledged and drained. Raises RuntimeError if one was not accepted."""
    count, in_flight = (of * len(bench.ledgers[address]) for of in SIZES[size])
    before = await bench.posted()
    result = await bench.send(address, bulk(spread(1), size, count, secrets.token_hex(8)), in_flight, count)
    started_s, took_s = time.monotonic(), count / result.rate
    await bench.drained()
    drained_s = time.monotonic() - started_s
    if await bench.posted() != before + size * count:
        raise RuntimeError("an item of a bulk call was not posted")
    return size * count / took_s, size * count / (took_s + drained_s)


FIGURES: dict[str, Callable[[Bench], Awaitable[list[Figure]]]] = {"postbatch": measure}
