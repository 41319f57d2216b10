"""The auditor's snapshot: one read-only transaction in which every check is put."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import AsyncConnection, IsolationLevel, sql
from psycopg.rows import dict_row

from ledger_svc.adjustments.rules import Status
from ledger_svc.bulk.rules import ItemStatus
from ledger_svc.journal.book import HoldState
from ledger_svc.journal.values import Category, Kind, Owner
from ledger_svc.verify.check import Check
from ledger_svc.verify.entries_store import ENTRIES
from ledger_svc.verify.keys_store import KEYS, SERVER
from ledger_svc.verify.lots_store import HOLDS, LOTS
from ledger_svc.verify.operations import naming
from svckit.idempotency import State

CHECKS: Final[tuple[Check, ...]] = (*ENTRIES, *LOTS, *HOLDS, *KEYS, *SERVER)
# synchronous_commit stays as the role has it, because it is checked.
_OPTIONS: Final = "-c timezone=UTC -c work_mem=128MB -c idle_in_transaction_session_timeout=10min"


class UnreachableError(Exception):
    """The database cannot be asked, so nothing is known."""


class Finding(NamedTuple):
    """What a check found: how many rows it looked at, how many are broken, and the first of them in words."""

    check: Check
    looked_at: int
    broken: int
    first: str
    took_s: float


async def judge(url: str) -> AsyncGenerator[Finding, None]:
    """Every check's finding, all of one snapshot. No writer is blocked. Raises UnreachableError.

    `url` is a libpq URI of a role that may read the ledger; the runtime role is the one whose privileges matter.
    """
    try:
        async with await AsyncConnection.connect(url, options=_OPTIONS, row_factory=dict_row) as connection:
            await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            await connection.set_read_only(True)
            async with aclosing(examine(connection)) as found:
                async for finding in found:
                    yield finding
    except psycopg.Error as error:
        raise UnreachableError(type(error).__name__) from error


async def examine(connection: AsyncConnection[dict[str, Any]]) -> AsyncGenerator[Finding, None]:
    """Every check's finding as the transaction of `connection` sees the ledger."""
    counted: dict[str, int] = {}
    for check in CHECKS:
        started_s = time.monotonic()
        if check.of not in counted:
            counted[check.of] = await _count(connection, check)
        broken, first = await _broken(connection, check)
        yield Finding(check, counted[check.of], broken, first, time.monotonic() - started_s)


async def _count(connection: AsyncConnection[dict[str, Any]], check: Check) -> int:
    counted = await connection.execute(sql.SQL("SELECT count(*) AS rows FROM ") + sql.SQL(check.of))
    row = await counted.fetchone()
    return int(row["rows"]) if row else 0


async def _broken(connection: AsyncConnection[dict[str, Any]], check: Check) -> tuple[int, str]:
    """How many rows are broken, and the first. Only one is brought here, however many there are."""
    query = sql.SQL("SELECT *, count(*) OVER () AS broken_rows FROM ({}) AS broken ORDER BY 1, 2, 3 LIMIT 1")
    found = await connection.execute(query.format(sql.SQL(check.broken)), _WORDS, prepare=False)
    row = await found.fetchone()
    return (0, "") if row is None else (int(row["broken_rows"]), check.says.format(**row))


def _words() -> dict[str, object]:
    """What the queries call by name."""
    operations = naming()
    return {
        **{word.name.lower(): int(word) for words in (Kind, Owner, HoldState, Status, ItemStatus) for word in words},
        "done": int(State.DONE),
        "merging": int(Category.ADJUST),
        "naming": list(operations),
        "placing": [operation for operation, field in operations.items() if field == "hold_id"],
    }


_WORDS: Final = _words()
