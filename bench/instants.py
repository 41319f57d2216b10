"""The balance as of an instant against the current one, on accounts that have a million entries."""

import random
import statistics
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import psycopg

from bench.figures import Figure, against
from bench.ledger import Bench
from bench.requests import Caller, balances

RUNS = 3
ENTRIES = 1_000_000
READS = 4_000
IN_FLIGHT = 4
PROGRAM = "bench-instants"
# How many accounts share the entries; the account with all of them is the first.
ACCOUNTS = {"one": 1, "many": 1_000}
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

# Points come in once; then one goes out each second.
_FILL = """
INSERT INTO accounts (program_id, account_id, owner_kind, owner, asset, posted, held, version, last_at)
SELECT %(program)s, %(first)s + a, 1, %(name)s || a, 'PTS', %(entries)s + 1, 0, %(entries)s,
    %(began)s + %(entries)s * interval '1 second' FROM generate_series(1, %(accounts)s) a;
INSERT INTO entries (program_id, account_id, recorded_at, version, transaction_id, kind, category, amount,
    balance_after, effective_at, reason)
SELECT %(program)s, %(first)s + a, %(began)s + n * interval '1 second', n, md5(%(name)s || a || ':' || n)::uuid,
    CASE n WHEN 1 THEN 1 ELSE 2 END, CASE n WHEN 1 THEN 1 ELSE 3 END, CASE n WHEN 1 THEN 2 * %(entries)s ELSE -1 END,
    2 * %(entries)s - n + 1, %(began)s + n * interval '1 second', ''
FROM generate_series(1, %(accounts)s) a, generate_series(1, %(entries)s) n;
INSERT INTO lots (program_id, account_id, lot_id, earned_at, original, remaining, open)
SELECT %(program)s, %(first)s + a, md5(%(name)s || a || ':1')::uuid, %(began)s + interval '1 second',
    2 * %(entries)s, %(entries)s + 1, true FROM generate_series(1, %(accounts)s) a;
INSERT INTO lot_uses (program_id, transaction_id, position, lot_id, amount)
SELECT %(program)s, md5(%(name)s || a || ':' || n)::uuid, 0, md5(%(name)s || a || ':1')::uuid, 1
FROM generate_series(1, %(accounts)s) a, generate_series(2, %(entries)s) n;
"""


async def measure(bench: Bench) -> list[Figure]:
    """The 99th percentile of both, asked in turn by the same callers."""
    figures = []
    for name, accounts in ACCOUNTS.items():
        callers = [Caller(PROGRAM, f"{name}{number + 1}") for number in range(accounts)]
        await bench.enrol(callers, rich=False)
        await _fill(bench, name, accounts)
        pairs = [await _p99_ms(bench, callers, ENTRIES // accounts) for _ in range(RUNS)]
        past, current = zip(*pairs, strict=True)
        figures.append(against(f"as_of_p99_of_{name}_vs_current", "ms", past, current))
    return figures


async def _p99_ms(bench: Bench, callers: list[Caller], entries: int) -> tuple[float, float]:
    asked = [random.choice(callers) for _ in range(READS)]  # noqa: S311
    # Every other one is of the past.
    instants = [BEGAN + timedelta(seconds=random.uniform(1, entries)) if n % 2 else None for n in range(READS)]  # noqa: S311
    result = await bench.send(bench.ledger, balances(asked, instants), IN_FLIGHT, READS)
    past, current = (statistics.quantiles(result.took_ms[start::2], n=100)[98] for start in (1, 0))
    return past, current


async def _fill(bench: Bench, name: str, accounts: int) -> None:
    values = {"program": PROGRAM, "name": name, "accounts": accounts, "entries": ENTRIES // accounts, "began": BEGAN}
    async with await psycopg.AsyncConnection.connect(bench.dsn, autocommit=True) as connection:
        client = psycopg.AsyncClientCursor(connection)
        await client.execute(_FILL, {**values, "first": random.getrandbits(60)})
        await connection.execute("VACUUM ANALYZE")


FIGURES: dict[str, Callable[[Bench], Awaitable[list[Figure]]]] = {"as_of_p99": measure}
