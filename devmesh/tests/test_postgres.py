"""The PostgreSQL of the mesh: the version and durability of production, and two roles per database."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from devmesh.account import unprivileged
from devmesh.postgres import PostgresServer, Role, program, throwaway_postgres
from devmesh.process import Child, until_ready


@pytest_asyncio.fixture(scope="module")
async def server() -> AsyncIterator[PostgresServer]:
    async with throwaway_postgres() as started:
        await started.create_database("ledger")
        await started.create_database("catalog")
        yield started


@asynccontextmanager
async def _running(server: PostgresServer) -> AsyncIterator[None]:
    part = server.part()
    child = Child(part.command)
    await until_ready(child, part)
    yield
    await child.stop(part.stop_signal)


async def _ask(server: PostgresServer, statement: str, role: Role = "runtime", database: str = "ledger") -> str | None:
    """Run one statement of a test in a transaction of its own; the first column of its first row as text."""
    async with await psycopg.AsyncConnection.connect(server.dsn(database, role)) as connection:
        cursor = await connection.execute(statement.encode())
        row = await cursor.fetchone() if cursor.description else None
        return str(row[0]) if row else None


async def test_it_is_the_version_of_production_and_durable(server: PostgresServer) -> None:
    assert await _ask(server, "SHOW server_version") == "18.4"
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert await _ask(server, f"SHOW {setting}") == "on"


async def test_it_listens_on_no_tcp_port(server: PostgresServer) -> None:
    assert await _ask(server, "SHOW listen_addresses") == ""
    assert await _ask(server, "SELECT inet_server_addr() IS NULL") == "True"


async def test_the_owner_creates_and_grants_and_the_runtime_role_uses(server: PostgresServer) -> None:
    await _ask(server, "CREATE TABLE entries (id int); GRANT SELECT, INSERT ON entries TO ledger_runtime", "owner")
    await _ask(server, "INSERT INTO entries VALUES (7)")
    assert await _ask(server, "SELECT id FROM entries") == "7"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await _ask(server, "DELETE FROM entries")


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE t (id int)", "CREATE TEMP TABLE t (id int)", "CREATE SCHEMA s", "SET ROLE ledger_owner"],
)
async def test_the_runtime_role_changes_no_schema(server: PostgresServer, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await _ask(server, statement)


async def test_the_owner_owns_its_database_and_schema_and_nothing_more(server: PostgresServer) -> None:
    database = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'ledger'"
    schema = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'public'"
    rights = "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = 'ledger_owner'"
    assert await _ask(server, database) == "ledger_owner"
    assert await _ask(server, schema) == "ledger_owner"
    assert await _ask(server, rights) == "False"


@pytest.mark.parametrize("role", ["owner", "runtime"])
async def test_a_role_cannot_enter_another_database(server: PostgresServer, role: str) -> None:
    address = server.dsn("ledger").replace("ledger_runtime", f"catalog_{role}")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        await psycopg.AsyncConnection.connect(address)


async def test_a_database_is_created_again_without_harm_and_dropped_with_its_roles(server: PostgresServer) -> None:
    await server.create_database("brief")
    await _ask(server, "CREATE TABLE kept (id int)", "owner", "brief")
    await server.create_database("brief")
    assert await _ask(server, "SELECT count(*) FROM kept", "owner", "brief") == "0"
    async with await psycopg.AsyncConnection.connect(server.dsn("brief")):
        await server.drop_database("brief")
    assert await _ask(server, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'brief%'") == "0"
    assert await _ask(server, "SELECT count(*) FROM pg_database WHERE datname = 'brief'") == "0"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_no_other_user_of_the_machine_gets_in(server: PostgresServer) -> None:
    # The server's own account may pass its folders, so it is `peer` alone that keeps this stranger out.
    psql, pipe = str(program("psql")), asyncio.subprocess.PIPE
    stranger = await asyncio.create_subprocess_exec(psql, server.dsn("ledger"), user="nobody", stderr=pipe, cwd="/")
    _, complaint = await stranger.communicate()
    assert b"Peer authentication failed" in complaint


async def test_two_servers_run_at_once_and_leave_nothing(server: PostgresServer) -> None:
    async with throwaway_postgres() as other:
        await other.create_database("ledger")
        await _ask(other, "CREATE TABLE mine (id int)", "owner")
        assert await _ask(server, "SELECT to_regclass('mine') IS NULL", "owner") == "True"
        folder = other.sockets.parent
    assert not folder.exists()
    with pytest.raises(psycopg.OperationalError):
        await psycopg.AsyncConnection.connect(other.dsn("ledger"))


async def test_a_server_left_running_by_a_killed_run_is_ended_and_its_data_is_kept(tmp_path: Path) -> None:
    killed, following = (PostgresServer(tmp_path / "p" / "data", tmp_path / run, tmp_path / "log") for run in "ab")
    await killed.initialise(sync=False)
    orphan = Child(killed.part().command)
    await until_ready(orphan, killed.part())
    await killed.create_database("kept")
    await following.initialise()
    assert await orphan.exited() == 0
    async with _running(following):
        assert await _ask(following, "SELECT current_user", database="kept") == "kept_runtime"


async def test_the_lock_file_of_a_dead_server_does_not_prevent_a_start(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "p" / "data", tmp_path / "s", tmp_path / "log")
    await server.initialise(sync=False)
    # Of the server's own user: a number that belongs to another user PostgreSQL itself passes over.
    account = unprivileged()
    somebody = await asyncio.create_subprocess_exec("sleep", "60", user=account.uid if account else None)
    (server.data / "postmaster.pid").write_text(f"{somebody.pid}\n{server.data}\n0\n5432\n\n\n\nready\n")
    await server.initialise()
    async with _running(server):
        assert somebody.returncode is None
    somebody.kill()
    await somebody.wait()


async def test_an_interrupted_first_start_is_repeated(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres" / "data", tmp_path / "sockets", tmp_path / "log")
    unfinished = tmp_path / "postgres" / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18")
    assert await server.initialise(sync=False) is True
    assert await server.initialise(sync=False) is False
