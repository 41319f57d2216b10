"""The auditor: a sound ledger passes, every tampered row is found and named, and writers go on meanwhile."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.rows import dict_row
from rewards.ledger.v1 import journal_pb2

from devmesh.postgres import PostgresServer
from ledger_svc.tests.audited import call, history, hold
from ledger_svc.tests.conftest import PROGRAM, running
from ledger_svc.tests.instances import superuser
from ledger_svc.tests.tampers import TAMPERS, Tamper
from ledger_svc.verify.report import faults, findings, verify
from ledger_svc.verify.store import CHECKS, examine, judge


@pytest.fixture(scope="module")
async def url(postgres: PostgresServer, migrated: Any, authority: Any) -> AsyncIterator[str]:
    """A sound ledger's database, as the runtime role; whoever tampers with it rolls back."""
    name, template = "ledger_audited", await migrated("ledger_svc")
    cluster = superuser(postgres.dsn(template, "runtime")).replace(f"/{template}?", "/postgres?")
    await execute(cluster, f"CREATE DATABASE {name} TEMPLATE {template}")
    address = postgres.dsn(template, "runtime").replace(f"/{template}?", f"/{name}?")
    async with running(address, authority) as made:
        await history(made)
    yield address
    await execute(cluster, f"DROP DATABASE {name} WITH (FORCE)")


async def execute(url: str, statement: LiteralString) -> None:
    async with await psycopg.AsyncConnection.connect(superuser(url), autocommit=True) as connection:
        await connection.execute(statement)


@contextlib.asynccontextmanager
async def tampering(url: str) -> AsyncIterator[psycopg.AsyncConnection[dict[str, Any]]]:
    """A superuser's transaction, which is rolled back."""
    async with await psycopg.AsyncConnection.connect(superuser(url), row_factory=dict_row) as connection:
        yield connection
        await connection.rollback()


async def test_a_sound_ledger_is_sound(url: str) -> None:
    found = await findings(url)
    assert faults(found) == []
    looked_at = {one.check.of.split()[0]: one.looked_at for one in found}
    assert looked_at["pg_settings"] == 3
    assert min(looked_at.values()) > 0
    # Both sides of a transfer are entries already.
    assert looked_at["audit.postings"] == 2 * looked_at["entries"] - 2


@pytest.mark.parametrize("tamper", TAMPERS, ids=lambda tamper: tamper.check.replace(" ", "-"))
async def test_a_tampered_row_is_found_and_named(url: str, tamper: Tamper) -> None:
    async with tampering(url) as connection:
        done = await connection.execute(tamper.sql())
        while done.nextset():
            pass
        named = [str(row["named"]) for row in await done.fetchall()]
        await connection.execute("SET LOCAL ROLE ledger_runtime")
        found = [one async for one in examine(connection)]
    firsts = [one.first for one in found if one.broken and one.check.name.startswith(tamper.check)]
    assert named
    assert [any(name in first for name in named) for first in firsts] == [True], (named, faults(found))


def test_every_check_has_a_tamper() -> None:
    untested = [c.name for c in CHECKS if not any(c.name.startswith(tamper.check) for tamper in TAMPERS)]
    assert untested == []


async def test_a_snapshot_is_judged_while_writers_go_on(url: str, authority: Any) -> None:
    async with running(url, authority) as made, contextlib.aclosing(judge(url)) as judged:
        first = await anext(judged)
        # The snapshot is open: postings and a broken row commit all the same, and it sees neither.
        assert (await call(made, "RedeemPoints", member_id="m_1", points=1)).points_redeemed == 1
        await execute(url, "UPDATE accounts SET posted = posted + 1 WHERE owner = 'm_2'")
        assert faults([first, *[finding async for finding in judged]]) == []
        later = await findings(url)
    await execute(url, "UPDATE accounts SET posted = posted - 1 WHERE owner = 'm_2'")
    assert [one.check.law for one in later if one.broken] == ["L2", "L5"]
    assert later[0].looked_at > first.looked_at


async def test_a_row_that_a_writer_has_locked_is_judged_all_the_same(url: str) -> None:
    async with tampering(url) as writer:
        await writer.execute("UPDATE accounts SET posted = posted + 1")
        assert faults(await findings(url)) == []


async def test_a_busy_ledger_is_never_judged_mid_flight(url: str, authority: Any) -> None:
    async def keep_posting() -> None:
        account = journal_pb2.AccountRef(member_id="m_1")
        for _ in range(10):
            taken = await call(made, "RedeemPoints", member_id="m_1", points=3)
            held = await hold(made, "PlaceHold", account=account, amount=2)
            await call(made, "ReversalPoints", transaction_id=taken.transaction_id)
            await hold(made, "VoidHold", hold_id=held.hold_id)

    async with running(url, authority) as made:
        writers = [asyncio.create_task(keep_posting()) for _ in range(4)]
        while not all(writer.done() for writer in writers):
            assert faults(await findings(url)) == []
        await asyncio.gather(*writers)


async def test_the_exit_status_tells(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await asyncio.to_thread(verify, url) == 0
    assert capsys.readouterr().out.endswith("the ledger is sound\n")
    assert await asyncio.to_thread(verify, url.replace("/ledger_audited", "/nowhere")) == 2


async def test_the_command_says_what_is_broken(url: str) -> None:
    await execute(url, "UPDATE accounts SET posted = posted + 1 WHERE owner = 'm_1'")
    argv = (sys.executable, "-m", "ledger_svc", "verify", url)
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    text = (await process.communicate())[0].decode()
    await execute(url, "UPDATE accounts SET posted = posted - 1 WHERE owner = 'm_1'")
    assert process.returncode == 1
    assert f"L2 broken: an account is the sum of its entries: 1 of 4. First: program {PROGRAM}, account " in text
