"""What a listing costs PostgreSQL: a few rows by index, whatever it is filtered by, as it is planned for a service."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.dialects import postgresql

from catalog_svc import browse_store
from catalog_svc.rules import Filters
from catalog_svc.tests.conftest import PROGRAM, Large
from svckit.db import _SESSION

LIMIT: Final = 51
# The place, the reward and its stock, for each that is shown.
A_PAGE: Final = 3 * LIMIT
DIALECT: Final = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]


class Recorder:
    """A transaction that notes its statements."""

    def __init__(self, tx: Any) -> None:
        self._tx = tx
        self.statements: list[tuple[Any, dict[str, Any]]] = []

    async def execute(self, statement: Any, values: dict[str, Any] | None = None) -> Any:
        self.statements.append((statement, values or {}))
        return await self._tx.execute(statement, *([values] if values else []))


@pytest.fixture
async def recorder(large: Large) -> AsyncIterator[Recorder]:
    async with large.catalog.db.read() as tx:
        yield Recorder(tx)


def plans(large: Large, recorder: Recorder) -> Iterator[dict[str, Any]]:
    """The plans of the statements with their true figures; made without a look at the values, like a service's."""
    with psycopg.connect(large.dsn, options=_SESSION) as connection:
        for number, (statement, values) in enumerate(recorder.statements):
            compiled = statement.compile(dialect=DIALECT)
            between, names = re.split(r"%\(\w+\)s", compiled.string), re.findall(r"%\((\w+)\)s", compiled.string)
            numbered = between[0] + "".join(f"${place}{part}" for place, part in enumerate(between[1:], 1))
            connection.execute(f"PREPARE s{number} AS {numbered.replace('%%', '%')}".encode())
            of = compiled.params | values
            given = sql.SQL(", ").join(sql.Literal(of[name]) for name in names)
            explain = sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {}({})")
            row = connection.execute(explain.format(sql.Identifier(f"s{number}"), given)).fetchone()
            assert row is not None
            yield json.loads(row[0])[0]["Plan"] if isinstance(row[0], str) else row[0][0]["Plan"]


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Every scan of a plan: its kind, and how many rows it looked at."""
    if "Relation Name" in plan or plan["Node Type"] == "Bitmap Index Scan":
        removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        yield plan["Node Type"], (plan["Actual Rows"] + removed) * plan["Actual Loops"]
    for inner in plan.get("Plans", []):
        yield from scans(inner)


def looked_at(large: Large, recorder: Recorder) -> float:
    found = [scan for plan in plans(large, recorder) for scan in scans(plan)]
    assert found
    assert [kind for kind, rows in found if "Seq" in kind and rows] == []
    return sum(rows for _, rows in found)


@pytest.mark.parametrize(
    ("filters", "most"),
    [
        (Filters(), A_PAGE),
        (Filters(country="US"), A_PAGE),
        (Filters(country="EE"), A_PAGE),
        (Filters(category="food"), A_PAGE),
        (Filters(country="US", category="food"), A_PAGE),
        (Filters(currency="KES"), A_PAGE),
        (Filters(brand="Fern Books 5"), A_PAGE),
        (Filters(country="US", brand="Fern Books 5"), A_PAGE),
        # One index leads, and what else is asked for sorts its rows out.
        (Filters(country="US", currency="USD", category="food"), A_PAGE + 200),
        # What is often found is found on the way,
        (Filters(text="gift card"), 3 * 500),
        (Filters(country="US", text="Gift Card"), 3 * 500),
        # what is not by its trigrams: each of them is looked at once, and so is what has them all.
        (Filters(text="fern books 5"), 3 * 500 + 2_000),
        (Filters(text="zzzz"), 3 * 500),
    ],
)
async def test_a_page_costs_a_few_rows_by_index(
    large: Large, recorder: Recorder, filters: Filters, most: float
) -> None:
    tx: Any = recorder
    await browse_store.page(tx, PROGRAM, filters, "g00500", LIMIT)
    assert looked_at(large, recorder) <= most


@pytest.mark.parametrize("country", ["", "US"])
async def test_a_page_of_brands_costs_their_own_rows(large: Large, recorder: Recorder, country: str) -> None:
    tx: Any = recorder
    found = await browse_store.values(tx, PROGRAM, "brand", country, "Fern", LIMIT)
    assert len(found) == LIMIT
    # To step to a brand, and to count its rewards; a few are withdrawn.
    assert looked_at(large, recorder) <= 3 * LIMIT + sum(count for _, count in found)
