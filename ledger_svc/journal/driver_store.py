"""The driver's own connection under a transaction: its pipeline sends several statements in one round trip."""

from typing import Any, LiteralString

from psycopg import AsyncConnection, AsyncCursor
from psycopg.errors import UniqueViolation
from sqlalchemy.exc import DBAPIError

from ledger_svc.journal.arrays_store import typed
from svckit.db import Tx

Row = tuple[Any, ...]


async def connection_of(tx: Tx) -> AsyncConnection[Any]:
    """The driver's connection under a transaction."""
    driver = (await tx.get_raw_connection()).driver_connection
    if not isinstance(driver, AsyncConnection):
        raise TypeError("the engine's driver is psycopg's async one")
    return driver


def is_duplicate(error: Exception) -> bool:
    """True if a transaction failed because a row was there already."""
    return isinstance(error, DBAPIError) and isinstance(error.orig, UniqueViolation)


class Reader:
    """Asks several questions in one round trip, if it is used within the connection's pipeline."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection
        self._asked: dict[str, AsyncCursor[Any]] = {}

    async def ask(self, name: str, statement: LiteralString, *parameters: object) -> None:
        """Sends a question."""
        self._asked[name] = self._connection.cursor(binary=True)
        await self._asked[name].execute(statement, typed(statement, parameters), prepare=True)

    async def rows(self, name: str) -> list[Row]:
        """The answer to a question; none if it was not asked."""
        return await self._asked[name].fetchall() if name in self._asked else []
