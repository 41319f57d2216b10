"""What a read costs on an account with a long history: a few rows by index, whatever is behind it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from ledger_svc.journal.values import Key, Kind, Owner
from ledger_svc.statements import store
from ledger_svc.statements.rules import Period
from svckit.db import Database

MEMBER = Key("p", Owner.MEMBER, "m", "PTS")
T0 = datetime(2026, 1, 1, tzinfo=UTC)
MANY = 20_000
END = T0 + timedelta(seconds=MANY)

# An account with an entry a second, every one with a lot: all of them closed but the last thousand, which never expire.
# Beside it stand as many entries and lots of another, so that no table is read as a whole because it is small.
FILL = f"""
INSERT INTO accounts (program_id, account_id, owner_kind, owner, asset, posted, held, version, last_at)
SELECT 'p', a, 1, CASE a WHEN 1 THEN 'm' ELSE 'm' || a END, 'PTS', {MANY}, 0, {MANY}, now()
    FROM generate_series(1, 2000) a;
INSERT INTO entries (program_id, account_id, recorded_at, version, transaction_id, kind, category, amount,
    balance_after, effective_at, reason)
SELECT 'p', a, timestamptz '{T0}' + n * interval '1 second', n, gen_random_uuid(), 1 + n % 2, 1, 1, n,
    timestamptz '{T0}', '' FROM generate_series(1, {MANY}) n, generate_series(1, 2) a;
INSERT INTO lots (program_id, account_id, lot_id, earned_at, expires_at, original, remaining, open)
SELECT 'p', a, gen_random_uuid(), timestamptz '{T0}' + n * interval '1 second',
    CASE WHEN n <= {MANY} - 1000 THEN timestamptz '{T0}' + n * interval '2 seconds' END,
    1, (n > {MANY} - 1000)::int, n > {MANY} - 1000 FROM generate_series(1, {MANY}) n, generate_series(1, 2) a;
INSERT INTO holds (program_id, hold_id, account_id, amount, state, placed_at, ended_at)
SELECT 'p', gen_random_uuid(), a, 1, 2, timestamptz '{T0}' + n * interval '1 second',
    timestamptz '{T0}' + n * interval '1 second' FROM generate_series(1, 2000) n, generate_series(1, 9) a;
ANALYZE;
"""  # noqa: S608 - it is made of constants


@pytest.fixture
async def db(fresh_url: Any) -> Any:
    url = await fresh_url("ledger_svc")
    with psycopg.connect(url.replace("ledger_runtime@", "ledger_owner@"), autocommit=True) as owner:
        owner.execute(FILL)
    made = Database(url)
    yield made
    await made.close()


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Every scan of a plan: its kind, its table, and how many rows it looked at."""
    if "Relation Name" in plan:
        rows = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
        yield plan["Node Type"], plan["Relation Name"], rows
    for inner in plan.get("Plans", []):
        yield from scans(inner)


async def looked_at(db: Database, statement: Any, **parameters: object) -> float:
    bound = store._of(statement, MEMBER, **parameters)
    explain = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.text}").bindparams(**bound.compile().params)
    async with db.read() as tx:
        found = (await tx.execute(explain)).scalar_one()
    plan = json.loads(found) if isinstance(found, str) else found
    done = [scan for scan in scans(plan[0]["Plan"]) if scan[2]]
    assert [scan for scan in done if "Seq" in scan[0]] == []
    return sum(rows for _, _, rows in done)


@pytest.mark.parametrize("second", [1, MANY // 2, MANY - 5, MANY])
async def test_an_instant_costs_a_few_rows(db: Database, second: int) -> None:
    at = T0 + timedelta(seconds=second, milliseconds=500)
    async with db.read() as tx:
        assert (await store.standing_as_of(tx, MEMBER, at)).balance == second
    # The account, and the entry after the instant; the holds that had not ended then.
    not_ended = max(0, 2_000 - second)
    assert await looked_at(db, store._AS_OF, at=at, expire=int(Kind.EXPIRE)) <= 2 + not_ended


async def test_the_balance_now_costs_a_few_rows(db: Database) -> None:
    async with db.read() as tx:
        assert (await store.standing(tx, MEMBER, END)).balance == MANY
    assert await looked_at(db, store._NOW, at=END) <= 1


async def test_a_statement_costs_its_own_entries(db: Database) -> None:
    period = Period(T0 + timedelta(seconds=5_000), T0 + timedelta(seconds=5_100))
    assert await looked_at(db, store._STATEMENT, start=period.start, end=period.end) <= 1 + 2 + 100


async def test_a_page_of_the_history_costs_its_own_entries(db: Database) -> None:
    period = Period(T0, END).before(T0 + timedelta(seconds=9_000))
    async with db.read() as tx:
        page = await store.history(tx, MEMBER, period, [], 50)
        assert [entry.version for entry in page] == list(range(8_999, 8_949, -1))
        statement = store._history(MEMBER, period, [Kind.EARN], 50)
        compiled = str(statement.compile(dialect=tx.dialect, compile_kwargs={"literal_binds": True}))
        plan = (await tx.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {compiled}")).scalar_one()
    done = list(scans(plan[0]["Plan"]))
    assert [scan for scan in done if "Seq" in scan[0]] == []
    assert sum(rows for _, _, rows in done) <= 1 + 2 * 50
