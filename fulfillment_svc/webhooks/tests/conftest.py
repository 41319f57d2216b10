"""Sinks that receive webhooks, canaries that must never be connected to, and programs with events."""

import asyncio
import base64
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from rewards.fulfillment.v1 import webhooks_pb2 as pb
from rewards.identity.v1 import programs_pb2
from sqlalchemy import select

from fulfillment_svc.tables import programs
from fulfillment_svc.webhooks import ingest_store, store
from fulfillment_svc.webhooks.rules import Endpoint
from fulfillment_svc.webhooks.sealer import Sealer, new_secret
from fulfillment_svc.webhooks.tables import webhook_deliveries, webhook_endpoints
from svckit.clock import new_id
from svckit.db import Database
from svckit.server import Worker

PROGRAM = "sandbox-acme"
KEY = base64.b64encode(bytes(range(32)))

Responder = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Received:
    headers: dict[str, str]
    body: bytes


@dataclass
class Sink:
    """A partner's server. `respond` answers every request, 204 unless a test says otherwise."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    respond: Responder | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [one.headers["webhook-id"] for one in self.received]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(headers, await request.read()))
        return await self.respond(request) if self.respond else web.Response(status=204)


@asynccontextmanager
async def listening(sink: Sink, tls: ssl.SSLContext | None = None) -> AsyncIterator[Sink]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", sink.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    sink.port = runner.addresses[0][1]
    try:
        yield sink
    finally:
        await runner.cleanup()


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with listening(Sink()) as started:
        yield started


@dataclass
class Canary:
    """Listeners on loopback addresses, all on one port. Whoever connects is counted and cut off."""

    port: int = 0
    hosts: list[str] = field(default_factory=list)
    connections: int = 0

    def count(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


def _has_ipv6() -> bool:
    """A machine without IPv6 has nothing there to be connected to."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.fixture
async def canary() -> AsyncIterator[Canary]:
    made, servers = Canary(), []
    for host in ("127.0.0.1", "127.0.0.2", "127.1.2.3", *(("::1",) if _has_ipv6() else ())):
        server = await asyncio.start_server(made.count, host, made.port)
        made.port = server.sockets[0].getsockname()[1]
        made.hosts.append(f"[{host}]" if ":" in host else host)
        servers.append(server)
    yield made
    for server in servers:
        server.close()
        await server.wait_closed()


@dataclass
class MovedClock:
    """Real time, moved by what a test says."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def move(self, **by: float) -> None:
        self.ahead += timedelta(**by)


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def sealer() -> Sealer:
    return Sealer.from_base64(KEY)


async def store_program(
    db: Database, program_id: str = PROGRAM, *, sandbox: bool = True, version: int = 1, clock_offset_s: int = 0
) -> None:
    program = programs_pb2.Program(
        program_id=program_id,
        mode=programs_pb2.Program.SANDBOX if sandbox else programs_pb2.Program.LIVE,
        time_zone="UTC",
        currency="USD",
        asset="PTS",
        points_per_unit=80,
        version=version,
        clock_offset_s=clock_offset_s,
    )
    await db.transact(lambda tx: programs.store(tx, program))


@pytest.fixture
async def db(fresh_database: Callable[[str], Awaitable[Database]]) -> Database:
    made = await fresh_database("fulfillment_svc")
    await store_program(made)
    return made


def event(member_id: str = "m_1", event_type: str = "points.earned", **changes: Any) -> pb.Event:
    fields = {"event_id": str(new_id()), "program_id": PROGRAM, "data_json": '{"points":10}', **changes}
    made = pb.Event(type=event_type, member_id=member_id, **fields)
    made.created_at.FromDatetime(datetime.now(UTC))
    return made


async def ingest(db: Database, *new: pb.Event) -> int:
    return await db.transact(lambda tx: ingest_store.ingest(tx, new))


@dataclass(frozen=True)
class Registered:
    endpoint_id: UUID
    secret: str


async def register(db: Database, sealer: Sealer, url: str, *event_types: str, program_id: str = PROGRAM) -> Registered:
    made = Registered(new_id(), new_secret())
    sealed = sealer.seal(program_id, made.endpoint_id, made.secret)
    endpoint = Endpoint(program_id, made.endpoint_id, url, event_types, sealed)
    await db.transact(lambda tx: store.create_endpoint(tx, endpoint))
    return made


async def deliveries(db: Database, endpoint: Registered) -> Sequence[Any]:
    mine = select(webhook_deliveries).where(webhook_deliveries.c.endpoint_id == endpoint.endpoint_id)
    async with db.read() as tx:
        return (await tx.execute(mine.order_by(webhook_deliveries.c.event_id))).all()


async def statuses(db: Database, endpoint: Registered) -> list[str]:
    return [row.status for row in await deliveries(db, endpoint)]


async def all_are(db: Database, endpoint: Registered, status: str) -> bool:
    return set(await statuses(db, endpoint)) == {status}


async def tried(db: Database, endpoint: Registered, least: int) -> bool:
    return all(row.attempts >= least for row in await deliveries(db, endpoint))


async def is_active(db: Database, endpoint: Registered) -> bool:
    columns = webhook_endpoints.c
    async with db.read() as tx:
        found = await tx.scalar(select(columns.active).where(columns.endpoint_id == endpoint.endpoint_id))
        return bool(found)


async def somebody_waits_for_a_lock(db: Database) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with db.read() as tx:
        return bool((await tx.exec_driver_sql(waiting)).scalar())


@asynccontextmanager
async def running(*workers: Worker) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def eventually(condition: Callable[[], Awaitable[bool]], within_s: float = 20) -> None:
    """Waits until the condition holds. Raises TimeoutError if it does not in time."""
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110 - the condition is in another process
            await asyncio.sleep(0.02)
