"""The figures of the posting RPC, each against a baseline that is measured in turn with it."""

import secrets
from collections.abc import Awaitable, Callable
from functools import partial

from bench import tpcb, usage
from bench.figures import Figure, absolute, against
from bench.ledger import SERVER, Bench
from bench.requests import Caller, spread

RUNS = 3
IN_FLIGHT = 128
COUNTS = {1: 300, 16: 1_500, 128: 3_000, 512: 4_000}
COUNT = COUNTS[IN_FLIGHT]
PROGRAMS = (1, 10, 100)
LONG_COUNT = 200_000

Rate = Callable[[], Awaitable[float]]
Measure = Callable[[Bench], Awaitable[list[Figure]]]


async def inflight(bench: Bench, n: int) -> list[Figure]:
    """RedeemPoints with n calls in flight against the empty RPC on the same server stack."""
    members = spread(1)
    post = partial(bench.redeem, bench.ledger, members, n, COUNTS[n])
    empty = partial(bench.redeem, bench.empty, members, n, COUNTS[n])
    return [await _paired(f"posting_inflight_{n}_vs_empty_rpc", post, empty)]


async def against_tpcb(bench: Bench) -> list[Figure]:
    """RedeemPoints, at one ledger and at two, against what PostgreSQL does without any of this."""
    await tpcb.prepare(bench.postgres)
    best = partial(tpcb.best, bench.postgres)
    two = partial(bench.redeem, bench.both, spread(1), IN_FLIGHT, COUNT)
    return [
        await _paired("posting_128_vs_tpcb", _posting(bench), best),
        await _paired("posting_128_two_ledgers_vs_tpcb", two, best),
    ]


async def against_unbatched(bench: Bench) -> list[Figure]:
    """RedeemPoints against the same with a transaction for each call."""
    unbatched = partial(bench.redeem, bench.unbatched, spread(1), IN_FLIGHT, COUNT)
    return [await _paired("posting_128_vs_unbatched", _posting(bench), unbatched)]


async def hot_account(bench: Bench) -> list[Figure]:
    """RedeemPoints of one member against the same of many."""
    hot = partial(bench.redeem, bench.ledger, spread(1)[:1], IN_FLIGHT, COUNT)
    return [await _paired("hot_account_vs_spread", hot, _posting(bench))]


async def replay(bench: Bench) -> list[Figure]:
    """Keys that were seen before against fresh ones."""
    seeds: list[str] = []

    async def fresh() -> float:
        seeds.append(secrets.token_hex(8))
        return await bench.redeem(bench.ledger, spread(1), IN_FLIGHT, COUNT, seeds[-1])

    async def again() -> float:
        return await bench.redeem(bench.ledger, spread(1), IN_FLIGHT, COUNT, seeds[-1])

    pairs = [(await fresh(), await again()) for _ in range(RUNS)]
    return [against("replay_vs_fresh", "postings/s", [seen for _, seen in pairs], [new for new, _ in pairs])]


async def spread_programs(bench: Bench) -> list[Figure]:
    """RedeemPoints of as many members, of one program and of several: batches are of one program each."""
    for programs in PROGRAMS[1:]:
        await bench.enrol(spread(programs))
    rates: dict[int, list[float]] = {programs: [] for programs in PROGRAMS}
    for _ in range(RUNS):
        for programs in PROGRAMS:
            rates[programs].append(await _posting(bench, spread(programs))())
    names = {programs: f"posting_spread_programs_{programs}" for programs in PROGRAMS}
    return [against(names[programs], "postings/s", rates[programs], rates[1]) for programs in PROGRAMS]


async def bytes_per_posting(bench: Bench) -> list[Figure]:
    """Disk of an accepted posting with all its rows and indexes, the outbox drained and vacuumed."""
    sizes = []
    before = await usage.disk_bytes(bench.dsn)
    for _ in range(RUNS):
        await _posting(bench)()
        after = await usage.disk_bytes(bench.dsn)
        sizes.append((after - before) / COUNT)
        before = after
    return [absolute("bytes_per_posting", "bytes", sizes)]


async def cpu_per_posting(bench: Bench) -> list[Figure]:
    """CPU of each process for one posting, and that of the empty RPC. What the relay causes is in it."""
    used: dict[str, list[float]] = {name: [] for name in bench.pids}
    for _ in range(RUNS):
        for address, names in ((bench.empty, ["empty"]), (bench.ledger, [SERVER, "postgres", "fulfillment_svc"])):
            before = {name: usage.cpu_s(bench.pids[name]) for name in names}
            await bench.redeem(address, spread(1), IN_FLIGHT, COUNT)
            for name in names:
                used[name].append((usage.cpu_s(bench.pids[name]) - before[name]) * 1000 / COUNT)
    return [absolute(f"cpu_per_posting_{name}", "ms", values) for name, values in used.items()]


async def memory(bench: Bench) -> list[Figure]:
    """The ledger's resident memory after many postings against that before them, one run."""
    pid = bench.pids[SERVER]
    await _posting(bench)()
    before = usage.resident_mib(pid)
    await bench.redeem(bench.ledger, spread(1), IN_FLIGHT, LONG_COUNT)
    return [against("memory_after_200k_postings", "MiB", [usage.resident_mib(pid)], [before])]


FIGURES: dict[str, Measure] = {
    **{f"posting_inflight_{n}_vs_empty_rpc": partial(inflight, n=n) for n in COUNTS},
    "posting_128_vs_tpcb": against_tpcb,
    "posting_128_vs_unbatched": against_unbatched,
    "hot_account_vs_spread": hot_account,
    "replay_vs_fresh": replay,
    "posting_spread_programs": spread_programs,
    "bytes_per_posting": bytes_per_posting,
    "cpu_per_posting": cpu_per_posting,
}
LONG: dict[str, Measure] = {"memory_after_200k_postings": memory}


def _posting(bench: Bench, members: list[Caller] | None = None) -> Rate:
    return partial(bench.redeem, bench.ledger, members or spread(1), IN_FLIGHT, COUNT)


async def _paired(name: str, value: Rate, baseline: Rate) -> Figure:
    pairs = [(await value(), await baseline()) for _ in range(RUNS)]
    values, baselines = zip(*pairs, strict=True)
    return against(name, "postings/s", values, baselines)
