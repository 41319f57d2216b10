"""The driver's pipeline, with more in it than a socket takes at once."""

from typing import Any

import pytest

from ledger_svc.journal.driver_store import Reader, connection_of
from svckit.db import Database


@pytest.mark.parametrize("size", [10, 100_000, 5_000_000])
async def test_whatever_is_asked_is_sent_before_an_answer_is_waited_for(fresh_database: Any, size: int) -> None:
    db: Database = await fresh_database("ledger_svc")
    async with db.read() as tx:
        connection = await connection_of(tx)
        reader = Reader(connection)
        async with connection.pipeline():
            for name in "abc":
                await reader.ask(name, "SELECT length(%b::text), repeat('y', %b)", "x" * size, size)
        found = [await reader.rows(name) for name in "abc"]
    assert found == [[(size, "y" * size)]] * 3
