import base64
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from psycopg import sql

from devmesh.pki import Authority
from devmesh.postgres import PostgresServer
from fulfillment_svc.providers.over_http import HttpProvider
from fulfillment_svc.providers.transport import open_session
from fulfillment_svc.redemptions import failpoints
from fulfillment_svc.tests.harness import Harness
from fulfillment_svc.tests.outside import Mailbox, SandboxProvider
from fulfillment_svc.tests.world import Service, World
from svckit.clients import open_channel
from svckit.db import Database
from svckit.testing import serving

_EMPTY = """
TRUNCATE redemptions, orders, order_batches, compliance_recipients, idempotency_keys, programs, events, event_sequences,
    webhook_endpoints CASCADE
"""


class Copy(NamedTuple):
    """A database as its two roles see it."""

    owner: str
    runtime: str


@pytest.fixture(scope="session")
async def provider_process(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SandboxProvider]:
    process = SandboxProvider(tmp_path_factory.mktemp("provider"))
    await process.door.open()
    yield process
    await process.stop()
    await process.door.close()


@pytest.fixture
async def provider(provider_process: SandboxProvider) -> SandboxProvider:
    """The sandbox provider, running, without faults, and with nobody to call back; its journal is that of the whole
    run."""
    provider_process.door.stub = None
    provider_process.door.names = ["sandbox"]
    provider_process.door.answers.clear()
    await provider_process.start()
    await provider_process.clear()
    return provider_process


@pytest.fixture(scope="session")
async def mailbox_process(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mailbox]:
    process = Mailbox(tmp_path_factory.mktemp("mailbox"))
    yield process
    await process.stop()


@pytest.fixture
async def mailbox(mailbox_process: Mailbox) -> Mailbox:
    """The mailbox of the whole run, running."""
    await mailbox_process.start()
    return mailbox_process


@pytest.fixture(scope="session")
async def beside(
    postgres: PostgresServer, migrated: Callable[[str], Awaitable[str]]
) -> Callable[[str], Awaitable[Copy]]:
    """Gives a copy of a service's database that stays for the whole run."""

    async def copy(service: str) -> Copy:
        template = await migrated(service)
        name = f"{template}_beside"
        superuser = postgres.dsn("postgres", "owner").replace("postgres_owner@", "postgres@")
        async with await psycopg.AsyncConnection.connect(superuser, autocommit=True) as connection:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            await connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        owner, runtime = (
            postgres.dsn(template, role).replace(f"/{template}?", f"/{name}?") for role in ("owner", "runtime")
        )
        return Copy(owner, runtime)

    return copy


@pytest.fixture(scope="session")
async def world_processes(
    beside: Callable[[str], Awaitable[Copy]], authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    services = {}
    for name in ("ledger_svc", "catalog_svc"):
        url = (await beside(name)).runtime
        # Nobody takes the ledger's events here; its outbox keeps them.
        nobody = {"REWARDS_PEERS": "fulfillment_svc=127.0.0.1:1"}
        services[name] = Service(tmp_path_factory.mktemp(name), name, url, authority, **nobody)
    world = World(authority, services["ledger_svc"], services["catalog_svc"])
    yield world
    await world.stop()


@pytest.fixture
async def world(world_processes: World) -> World:
    """Ledger and catalog of the whole run, running."""
    await world_processes.start()
    return world_processes


@pytest.fixture(scope="session")
async def own_database(beside: Callable[[str], Awaitable[Copy]]) -> AsyncIterator[tuple[str, Database]]:
    copy = await beside("fulfillment_svc")
    db = Database(copy.runtime)
    yield copy.owner, db
    await db.close()


@pytest.fixture
async def db(own_database: tuple[str, Database]) -> Database:
    """The service's own database, emptied."""
    owner, db = own_database
    async with await psycopg.AsyncConnection.connect(owner) as connection:
        await connection.execute(_EMPTY)
    return db


@pytest.fixture
async def harness(
    db: Database, authority: Authority, world: World, provider: SandboxProvider, mailbox: Mailbox
) -> AsyncIterator[Harness]:
    """The room, served over mTLS as the gateway sees it. Its workers do not run."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session())
        adapter = HttpProvider(session, provider.url, idempotent=True, visibility_s=0, timeout_s=1)
        harness = Harness(db, world, provider, mailbox, adapter)

        async def start() -> None:
            at = await stack.enter_async_context(serving(authority.issue("fulfillment_svc"), await harness.served()))
            gateway = authority.issue("gateway")
            await harness.serve(await stack.enter_async_context(open_channel(at, "fulfillment_svc", gateway)))

        harness.start = start
        await start()
        yield harness
        failpoints.load("")


@pytest.fixture
def process_env() -> dict[str, str]:
    """What the process is told besides; a module may have its own."""
    return {}


@pytest.fixture
async def process(
    harness: Harness,
    own_database: tuple[str, object],
    authority: Authority,
    tmp_path: Path,
    process_env: dict[str, str],
) -> AsyncIterator[Service]:
    """The process on the harness's database; the harness's calls go to it."""
    key = tmp_path / "code_key"
    key.write_bytes(base64.b64encode(secrets.token_bytes(32)))
    runtime = own_database[0].replace("_owner@", "_runtime@")
    world = harness.world
    service = Service(
        tmp_path,
        "fulfillment_svc",
        runtime,
        authority,
        REWARDS_CODE_KEY_FILE=str(key),
        REWARDS_SMTP=f"127.0.0.1:{harness.mailbox.port}",
        REWARDS_PROVIDER_URL=harness.provider.url,
        REWARDS_PROVIDER_SECRET_FILE=harness.provider.secret_file,
        REWARDS_PEERS=f"ledger_svc={world.ledger.address},catalog_svc={world.catalog.address}",
        **process_env,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(service.stop)
        gateway = open_channel(service.address, "fulfillment_svc", authority.issue("gateway"))
        await harness.serve(await stack.enter_async_context(gateway))
        yield service
