"""PostgreSQL. `transact(work)` is the only way to write; `read()` gives a snapshot to read from.

Driver text never leaves the process: a database that cannot be reached is UNAVAILABLE, a race that was
lost too often is CONFLICT, everything else is a fault of ours."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import psycopg
from opentelemetry import trace
from sqlalchemy import exc, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from svckit import telemetry
from svckit.errors import Reason, Refused

Tx = AsyncConnection
Result = TypeVar("Result")

ATTEMPTS: Final = 4
_LOST_RACE: Final = frozenset({"40001", "40P01"})
_BUSY: Final = frozenset({"55P03", "57014", "53300", "57P01", "57P02", "57P03"})
_SESSION: Final = (
    "-c timezone=UTC -c lock_timeout=3s -c statement_timeout=5s -c idle_in_transaction_session_timeout=10s"
    " -c synchronous_commit=on -c plan_cache_mode=force_generic_plan"
)
# A server that has gone silent is given up after ten seconds, not after the hours that TCP would wait.
_LINK: Final = {"connect_timeout": 2, "keepalives_idle": 5, "keepalives_interval": 2, "tcp_user_timeout": 10_000}


class Database:
    """A service's database. `url` is a libpq URI, for example postgresql://role@host/name."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self._engine = create_async_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=pool_size,
            max_overflow=0,
            # Shorter than any caller's deadline: a full pool is a fast refusal, not a queue.
            pool_timeout=1.5,
            # An INSERT that did nothing on a conflict tells so by its row count.
            execution_options={"preserve_rowcount": True},
            connect_args={"options": _SESSION, **_LINK},
        )

    async def transact(self, work: Callable[[Tx], Awaitable[Result]]) -> Result:
        """Runs `work` in a transaction and commits it. `work` may run more than once, so it keeps no state outside
        itself and calls nothing but the database. If it raises, nothing is written. Raises UNAVAILABLE if the database
        is down or too busy, CONFLICT if the race was lost ATTEMPTS times; a commit whose answer is lost is UNAVAILABLE
        too, and only the idempotency key tells whether it took effect."""
        with telemetry.span("db.transact", trace.SpanKind.CLIENT, {"db.system.name": "postgresql"}):
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    return await self._attempt(work)
                except (exc.DBAPIError, exc.TimeoutError) as error:
                    # A connection that broke before the commit was sent has certainly written nothing.
                    broken = isinstance(error, exc.DBAPIError) and error.connection_invalidated
                    if attempt == ATTEMPTS or not (broken or _state(error) in _LOST_RACE):
                        raise _refusal(error) from error
                    await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, work: Callable[[Tx], Awaitable[Result]]) -> Result:
        async with self._engine.connect() as tx:
            # Told here, because SQLAlchemy does not see what `work` sends on the driver's own connection.
            await tx.begin()
            try:
                result = await work(tx)
            except psycopg.Error as error:
                raise await _wrapped(tx, error) from error
            try:
                await tx.commit()
            except exc.DBAPIError as error:
                if _state(error) in _LOST_RACE:
                    raise
                # The server may have committed before the connection broke, so this never repeats.
                raise Refused(Reason.UNAVAILABLE, "The database did not confirm the write.", retry_after_s=1) from error
            return result

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        """A connection to read from; what is written on it is rolled back. Raises UNAVAILABLE."""
        try:
            async with self._engine.connect() as tx:
                yield tx
        except (exc.DBAPIError, exc.TimeoutError) as error:
            raise _refusal(error) from error

    async def close(self) -> None:
        """Closes all connections."""
        await self._engine.dispose()


async def _wrapped(tx: Tx, error: psycopg.Error) -> exc.DBAPIError:
    """What `work` got on the driver's own connection, as SQLAlchemy would have told it."""
    driver = (await tx.get_raw_connection()).driver_connection
    broken = isinstance(driver, psycopg.AsyncConnection) and driver.closed
    if broken:
        await tx.invalidate()
    return exc.DBAPIError(None, None, error, connection_invalidated=broken)


def _state(error: exc.DBAPIError | exc.TimeoutError) -> str:
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""


def _refusal(error: exc.DBAPIError | exc.TimeoutError) -> Exception:
    if isinstance(error, exc.TimeoutError):
        return Refused(Reason.UNAVAILABLE, "The database is too busy.", retry_after_s=1)
    state = _state(error)
    if state in _LOST_RACE:
        return Refused(Reason.CONFLICT, "Too many changes of the same thing at once.")
    if state in _BUSY or error.connection_invalidated or isinstance(error, exc.OperationalError):
        return Refused(Reason.UNAVAILABLE, "The database is not available.", retry_after_s=1)
    return error
