"""Fixtures of all rooms: a real PostgreSQL, certificates, and a fresh migrated database per test."""

import contextlib
import itertools
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql

from devmesh.pki import Authority
from devmesh.postgres import PostgresServer, throwaway_postgres
from svckit import migrate
from svckit.db import Database

ROOT = Path(__file__).parent
# What takes longest, in this order: begun first, so that no worker is left alone with one of them at the end.
_LONGEST = (
    "tests/mesh",
    "fulfillment_svc/tests/test_breakages.py",
    "ledger_svc/tests/test_breakages.py",
    "fulfillment_svc/tests/test_torture.py",
    "fulfillment_svc/tests/test_torture_routed.py",
    "ledger_svc/tests/test_machine.py",
    "fulfillment_svc/tests/test_crash_sweep.py",
)
# Copying the files is much cheaper than writing each page to the log first, on a server whose checkpoints are cheap.
_COPY = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
FreshDatabase = Callable[[str], Awaitable[Database]]
# A machine may be busy, and no test judges time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_configure() -> None:
    stale = subprocess.run([sys.executable, str(ROOT / "protos" / "generate.py"), "--check"], check=False)
    if stale.returncode != 0:
        pytest.exit("protos/gen is stale: run `make protos`", returncode=3)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest first. Of two workers each has its own servers and its own mesh; a module stays on one."""
    rank = {name: place for place, name in enumerate(_LONGEST)}

    def place(item: pytest.Item) -> int:
        module = item.path.relative_to(ROOT)
        return rank.get(str(module.parent if module.is_relative_to("tests/mesh") else module), len(rank))

    items.sort(key=place)


@pytest.fixture(scope="session")
async def postgres() -> AsyncIterator[PostgresServer]:
    """One real server for the whole run, or for each of its workers."""
    async with throwaway_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The certificate authority of the run; `authority.issue(name)` is a peer's tls folder."""
    return Authority.load_or_create(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
async def migrated(postgres: PostgresServer) -> Callable[[str], Awaitable[str]]:
    """Gives the name of a migrated database of a service, which nobody else connects to."""
    done: set[str] = set()

    async def template(service: str) -> str:
        name = service.removesuffix("_svc")
        if name not in done:
            await postgres.create_database(name)
            migrate.upgrade(ROOT / service / "migrations", postgres.dsn(name, "owner"))
            done.add(name)
        return name

    return template


@contextlib.asynccontextmanager
async def _copies(
    postgres: PostgresServer, migrated: Callable[[str], Awaitable[str]]
) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    made: list[str] = []

    async def copy(service: str) -> str:
        template = await migrated(service)
        name = f"{template}_{next(_counter)}"
        await _superuser(postgres, _COPY, name, template)
        made.append(name)
        return postgres.dsn(template, "runtime").replace(f"/{template}?", f"/{name}?")

    yield copy
    for name in made:
        await _superuser(postgres, sql.SQL("DROP DATABASE {} WITH (FORCE)"), name)


@pytest.fixture
async def fresh_url(
    postgres: PostgresServer, migrated: Callable[[str], Awaitable[str]]
) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """Gives the runtime role's address of a fresh copy of a service's migrated database."""
    async with _copies(postgres, migrated) as copy:
        yield copy


@pytest.fixture(scope="module")
async def shared_url(
    postgres: PostgresServer, migrated: Callable[[str], Awaitable[str]]
) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """As `fresh_url`, for what is so large that the tests of a module share it and only read."""
    async with _copies(postgres, migrated) as copy:
        yield copy


@pytest.fixture
async def fresh_database(fresh_url: Callable[[str], Awaitable[str]]) -> AsyncIterator[FreshDatabase]:
    """Gives a `Database` on a fresh copy: `db = await fresh_database("ledger_svc")`."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(service: str) -> Database:
            db = Database(await fresh_url(service))
            stack.push_async_callback(db.close)
            return db

        yield make


_counter = itertools.count(1)


async def _superuser(postgres: PostgresServer, statement: sql.SQL, *names: str) -> None:
    url = postgres.dsn("postgres", "owner").replace("postgres_owner@", "postgres@")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement.format(*(sql.Identifier(name) for name in names)))
