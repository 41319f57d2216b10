"""The mesh as one object: `async with Mesh(home) as mesh` has it serving inside the block and gone after it."""

import asyncio
import contextlib
import json
import os
import shlex
import signal
from collections.abc import Awaitable
from pathlib import Path
from types import TracebackType
from typing import Self

from devmesh.layout import ROOT, SERVICES, Layout, socket_folder, sole_use
from devmesh.migrations import migrate
from devmesh.parts import Parts
from devmesh.postgres import Role
from devmesh.private import write_private
from devmesh.process import run_once
from devmesh.supervisor import Report, Supervisor, report_on_stderr
from gateway.envoy.render import render


class Mesh:
    """All processes of one mesh, from PostgreSQL to Envoy, with its data in `home`.

    `port` is the REST port, None for any free one; `mode` is "development" or "production". Entering starts everything,
    seeds the sandbox at the first start and returns when every part serves; it raises HomeInUseError, PortInUseError or
    ProcessFailedError when that cannot be. Leaving stops everything in order. In between a part that dies is passed to
    `report` and started again.
    """

    def __init__(
        self, home: Path, port: int | None = None, report: Report = report_on_stderr, mode: str = "development"
    ) -> None:
        self.home, self._port, self._report, self._mode = home.resolve(), port, report, mode
        self._cleanup = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as started:
            started.enter_context(sole_use(self.home))
            sockets = started.enter_context(socket_folder(self.home))
            self.layout = Layout.open(self.home, sockets, self._port)
            self._parts = Parts(self.layout, os.environ, self._mode)
            self._supervisor = Supervisor(self.layout.run, self._report)
            started.push_async_callback(self._supervisor.stop)
            await self._start()
            self._cleanup = started.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._cleanup.aclose()

    @property
    def url(self) -> str:
        """The REST surface, without a slash at the end."""
        return f"http://{self.layout.address('rest')}"

    @property
    def env(self) -> dict[str, str]:
        """What `<home>/env` exports: where the mesh is, the operator's token, and the seeded credentials."""
        return {
            "REWARDS_URL": self.url,
            "REWARDS_GRPC": self.layout.address("rest"),
            "REWARDS_ADMIN_TOKEN": self._admin_token.read_text().strip(),
            **(json.loads(self._seeded.read_text()) if self._seeded.exists() else {}),
        }

    def dsn(self, database: str, role: Role = "runtime") -> str:
        """The address of a service's database, e.g. "ledger": a libpq URI."""
        return self._parts.postgres.dsn(database, role)

    def log(self, name: str) -> Path:
        """The log file of a part."""
        return self.layout.log(name)

    def pid(self, name: str) -> int:
        """The process id of a part's present process."""
        return self._supervisor.pid(name)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a part's process a signal. After one that ends it, `ready` waits for the process that follows."""
        self._supervisor.kill(name, number)

    async def ready(self, name: str | None = None, within_s: float = 30.0) -> None:
        """Wait until a part serves, or all of them. Raises ProcessFailedError for the one that does not in time."""
        await self._supervisor.ready(name, within_s)

    @property
    def _admin_token(self) -> Path:
        return self.layout.secrets / "admin_token"

    @property
    def _seeded(self) -> Path:
        return self.layout.secrets / "seeded.json"

    async def _start(self) -> None:
        # Python's own start-up is most of the time it takes, so everything that can begins at once. A service needs its
        # database migrated; nothing else waits for another, because every client of the mesh connects when it must.
        write_private(self.layout.gateway_config, render(self._parts.gateway_settings()).encode())
        parts, start = self._parts, self._supervisor.start
        databases = asyncio.create_task(self._start_databases())
        await _all(
            databases,
            *(self._start_service(name, databases) for name in SERVICES),
            start(parts.redis.part()),
            start(parts.envoy()),
            start(parts.provider()),
            start(parts.mailbox()),
            start(parts.traces()),
        )
        await self._seed()
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.env.items())
        write_private(self.layout.env_file, exports.encode())

    async def _start_databases(self) -> None:
        postgres = self._parts.postgres
        if await postgres.initialise():
            for remembered in (*self.layout.migrated.iterdir(), self._admin_token, self._seeded):
                remembered.unlink(missing_ok=True)
        await self._supervisor.start(postgres.part())
        if not self._seeded.exists():
            await _all(*(postgres.create_database(name.removesuffix("_svc")) for name in SERVICES))

    async def _start_service(self, name: str, databases: Awaitable[None]) -> None:
        await databases
        await migrate(self._parts.migration(name), ROOT / name / "migrations", self.layout.migrated / name)
        operator = [self._create_operator()] if name == "identity_svc" else []
        await _all(self._supervisor.start(self._parts.service(name)), *operator)

    async def _create_operator(self) -> None:
        if not self._admin_token.exists():
            token = await run_once(self._parts.create_operator())
            write_private(self._admin_token, token.encode())

    async def _seed(self) -> None:
        """Fill the sandbox once. What the seed returns are the credentials that `env` exports."""
        if not self._seeded.exists():
            from devmesh.seed import seed  # noqa: PLC0415 - it loads every stub, which later starts have no use for

            write_private(self._seeded, json.dumps(await seed(self)).encode())


async def _all(*waits: Awaitable[None]) -> None:
    """Await all at once; the first to fail cancels the others and is raised as it is."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
