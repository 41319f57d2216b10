"""The ledger under load, without a gateway: its own process, a twin of it that does not batch, and the empty RPC."""

import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from bench.calls import Plan, Result, Target, generate
from bench.requests import Caller, Requests, members, points, programs, redemptions, spread
from devmesh.mesh import Mesh
from devmesh.parts import Parts
from devmesh.pki import Authority
from devmesh.postgres import PostgresServer
from devmesh.process import Child, Part, until_ready
from devmesh.readiness import reports_serving
from devmesh.sockets import LOOPBACK, choose_port

SERVER = "ledger_svc"


@dataclass(frozen=True)
class Bench:
    """What the figures are measured on. Addresses are host:port, that of `both` ledgers has two; `pids` are those of
    the processes by name, `ledgers` those of the ledgers by address."""

    ledger: str
    both: str
    catalog: str
    unbatched: str
    empty: str
    fulfillment: str
    provider: str
    mail: Path
    pids: Mapping[str, int]
    ledgers: Mapping[str, frozenset[int]]
    authority: Authority
    postgres: PostgresServer
    dsn: str

    async def redeem(
        self, address: str, callers: list[Caller], in_flight: int, count: int, seed: str | None = None
    ) -> float:
        """RedeemPoints of one point each, of the callers in turn; calls a second. The outbox is empty afterwards."""
        result = await self.send(address, redemptions(callers), in_flight, count, seed)
        await self.drained()
        return result.rate

    async def enrol(self, callers: list[Caller], *, rich: bool = True) -> None:
        """Stores programs and members as identity_svc does, and gives each member points if they are to be `rich`."""
        known = programs(callers)
        # The relay hands events only to a fulfillment_svc that knows the program.
        target = self._target(self.fulfillment, "fulfillment_svc", known)
        await generate(Plan(target, known.bodies, known.headers, len(known.bodies), 16, _seed()))
        for requests in (known, members(callers), *([points(callers)] if rich else [])):
            await self.send(self.ledger, requests, 16, len(requests.bodies))
        await self.drained()

    async def drained(self) -> None:
        """Waits until the relay has handed everything over, so that no run pays for the one before it."""
        async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as connection:
            while await (await connection.execute("SELECT 1 FROM outbox LIMIT 1")).fetchone():
                await connection.execute("SELECT pg_sleep(0.05)")

    async def posted(self) -> int:
        """How many entries the ledger has."""
        async with await psycopg.AsyncConnection.connect(self.dsn) as connection:
            row = await (await connection.execute("SELECT sum(version)::bigint FROM accounts")).fetchone()
            return int(row[0]) if row else 0

    async def send(
        self,
        address: str,
        requests: Requests,
        in_flight: int,
        count: int,
        seed: str | None = None,
        *,
        server: str = SERVER,
    ) -> Result:
        """Sends `count` of the requests in turn. Raises RuntimeError unless all are answered with OK."""
        target = self._target(address, server, requests)
        with self._alone(address):
            return await generate(Plan(target, requests.bodies, requests.headers, count, in_flight, seed or _seed()))

    @contextmanager
    def _alone(self, address: str) -> Iterator[None]:
        """Stops the other ledgers for so long. They would be idle, and so would hand over at once the events that those
        at work leave for later, on the same two cores."""
        at_work = self.ledgers.get(address)
        others = frozenset[int]() if at_work is None else frozenset[int]().union(*self.ledgers.values()) - at_work
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)

    def _target(self, address: str, server: str, requests: Requests) -> Target:
        return Target(address, server, requests.rpc, str(self.authority.issue(requests.peer)))


@asynccontextmanager
async def benched(mesh: Mesh) -> AsyncIterator[Bench]:
    """Starts what is compared with the mesh's own ledger, another one beside it, as production has several, and enrols
    the members of `spread(1)`."""
    parts = Parts(mesh.layout, os.environ, "production")
    unbatched, empty, second = choose_port(), choose_port(), choose_port()
    # As many transactions at once as make it fastest here: unbatched is compared at its best.
    alone = {"REWARDS_POSTING_BATCH_MAX": "1", "REWARDS_POSTING_BATCHES_IN_FLIGHT_MAX": "8"}
    twins = [
        _twin(parts, unbatched, SERVER, mesh, alone),
        _twin(parts, empty, "bench.empty_rpc", mesh, {}),
        _twin(parts, second, SERVER, mesh, {}),
    ]
    children = [Child(twin.command) for twin in twins]
    try:
        for child, twin in zip(children, twins, strict=True):
            await until_ready(child, twin)
        pids = {name: mesh.pid(name) for name in (SERVER, "postgres", "fulfillment_svc")}
        ledger, pid = mesh.layout.address(SERVER), pids[SERVER]
        both = f"ipv4:{ledger},{LOOPBACK}:{second}"
        bench = Bench(
            ledger=ledger,
            both=both,
            catalog=mesh.layout.address("catalog_svc"),
            unbatched=f"{LOOPBACK}:{unbatched}",
            empty=f"{LOOPBACK}:{empty}",
            fulfillment=mesh.layout.address("fulfillment_svc"),
            provider=mesh.layout.address("provider"),
            mail=mesh.layout.mail,
            pids=pids | {"empty": children[1].pid},
            ledgers={
                ledger: frozenset({pid}),
                f"{LOOPBACK}:{unbatched}": frozenset({children[0].pid}),
                both: frozenset({pid, children[2].pid}),
            },
            authority=Authority.load_or_create(mesh.layout.pki),
            postgres=parts.postgres,
            dsn=mesh.dsn("ledger", "owner"),
        )
        await bench.enrol(spread(1))
        # What autovacuum does within a minute; the baseline's tables are analyzed as well.
        async with await psycopg.AsyncConnection.connect(bench.dsn, autocommit=True) as connection:
            await connection.execute("ANALYZE")
        yield bench
    finally:
        for child in children:
            await child.stop()


def _twin(parts: Parts, port: int, module: str, mesh: Mesh, env: Mapping[str, str]) -> Part:
    """A process that is told what the ledger is told, on a port of its own."""
    ours = parts.service(SERVER).command
    told = {**ours.env, "REWARDS_LISTEN": f"{LOOPBACK}:{port}", "REWARDS_METRICS_LISTEN": "", **env}
    name = f"bench-{port}"
    command = replace(ours, name=name, argv=[sys.executable, "-m", module], log=mesh.log(name), env=told)
    return Part(command=command, ready=lambda: reports_serving(port, SERVER, parts.certificate))


def _seed() -> str:
    return secrets.token_hex(8)
