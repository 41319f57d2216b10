"""The auditor: a sound ledger passes, every tampered row is found and named, and writers go on meanwhile."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any, LiteralString, NamedTuple

import psycopg
import pytest
from psycopg.rows import dict_row
from rewards.identity.v1 import programs_pb2, programs_pb2_grpc
from rewards.ledger.v1 import directory_pb2, funding_pb2, funding_pb2_grpc, journal_pb2, points_pb2
from rewards.ledger.v1.directory_pb2_grpc import MemberDirectoryServiceStub
from rewards.ledger.v1.journal_pb2_grpc import JournalServiceStub
from rewards.ledger.v1.points_pb2_grpc import PointsServiceStub

from devmesh.postgres import PostgresServer
from ledger_svc.__main__ import served
from ledger_svc.journal.engine import Journal
from ledger_svc.verify.report import faults, findings, verify
from ledger_svc.verify.store import CHECKS, examine, judge
from svckit.clock import new_id
from svckit.db import Database
from svckit.testing import calling, headers, partner, serving

PROGRAM = "sandbox-test"
SCOPES = ("points:read", "points:write", "events:write", "funding:write")
A_LIFETIME_S = 80 * 365 * 86_400


class Ledger(NamedTuple):
    points: Any
    journal: Any
    funding: Any
    programs: Any
    members: Any

    async def call(self, rpc: str, **fields: Any) -> Any:
        request = getattr(points_pb2, f"{rpc}Request")(**fields)
        meta = headers(partner(PROGRAM, *SCOPES), str(new_id()))
        return await getattr(self.points, rpc)(request, timeout=10, metadata=meta)

    async def hold(self, rpc: str, **fields: Any) -> Any:
        request = getattr(journal_pb2, f"{rpc}Request")(program_id=PROGRAM, **fields)
        return await getattr(self.journal, rpc)(request, metadata=(("idempotency-key", str(new_id())),))

    async def clock(self, ahead_s: int, version: int) -> None:
        program = programs_pb2.Program(
            program_id=PROGRAM, name="Test", mode=programs_pb2.Program.SANDBOX, time_zone="Europe/Berlin",
            currency="USD", asset="PTS", points_per_unit=80, clock_offset_s=ahead_s, version=version,
        )  # fmt: skip
        await self.programs.StoreProgram(programs_pb2.StoreProgramRequest(program=program))


@contextlib.asynccontextmanager
async def ledger(url: str, authority: Any) -> AsyncIterator[Ledger]:
    db = Database(url)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(db.close)
        address = await stack.enter_async_context(serving(authority.issue("ledger_svc"), served(db, Journal(db), b"k")))
        channel = {
            peer: await stack.enter_async_context(calling(address, "ledger_svc", authority.issue(peer)))
            for peer in ("gateway", "identity_svc", "fulfillment_svc")
        }
        yield Ledger(
            PointsServiceStub(channel["gateway"]),
            JournalServiceStub(channel["fulfillment_svc"]),
            funding_pb2_grpc.FundingServiceStub(channel["gateway"]),
            programs_pb2_grpc.ProgramDirectoryServiceStub(channel["identity_svc"]),
            MemberDirectoryServiceStub(channel["identity_svc"]),
        )


async def history(made: Ledger) -> None:
    """Something of every kind: lots that run out, reversals, holds in every state, funding, an event without points."""
    await made.clock(0, 1)
    for member_id in ("m_1", "m_2"):
        store = directory_pb2.StoreMemberRequest(program_id=PROGRAM, member_id=member_id, active=True, version=1)
        await made.members.StoreMember(store)
        for points, expires_at in ((200, "2098-12-31"), (300, "2097-06-30"), (900, "")):
            await made.call("CreateCredit", member_id=member_id, points=points, expires_at=expires_at)
        taken = await made.call("RedeemPoints", member_id=member_id, points=400)
        for points in (150, 50):
            await made.call("ReversalPoints", transaction_id=taken.transaction_id, points=points)
    await made.call("InsertTransactionData", member_id="m_1", type="login")
    account = journal_pb2.AccountRef(member_id="m_1")
    holds = [await made.hold("PlaceHold", account=account, amount=amount) for amount in (350, 60, 70)]
    await made.hold("CaptureHold", hold_id=holds[0].hold_id, amount=250)
    await made.hold("VoidHold", hold_id=holds[1].hold_id)
    deposit = funding_pb2.CreateDepositRequest(amount=100)
    await made.funding.CreateDeposit(deposit, metadata=headers(partner(PROGRAM, *SCOPES), "deposit"))
    funded = await made.hold("PlaceHold", account=journal_pb2.AccountRef(funding_currency="USD"), amount=5_000)
    await made.hold("CaptureHold", hold_id=funded.hold_id)
    await made.clock(A_LIFETIME_S, 2)
    await made.call("RedeemPoints", member_id="m_2", points=5)


@pytest.fixture(scope="module")
async def url(postgres: PostgresServer, migrated: Any, authority: Any) -> AsyncIterator[str]:
    """A sound ledger's database, as the runtime role; whoever tampers with it rolls back."""
    name, template = "ledger_audited", await migrated("ledger_svc")
    cluster = superuser(postgres.dsn(template, "runtime")).replace(f"/{template}?", "/postgres?")
    await execute(cluster, f"CREATE DATABASE {name} TEMPLATE {template}")
    address = postgres.dsn(template, "runtime").replace(f"/{template}?", f"/{name}?")
    async with ledger(address, authority) as made:
        await history(made)
    yield address
    await execute(cluster, f"DROP DATABASE {name} WITH (FORCE)")


def superuser(url: str) -> str:
    return url.replace("ledger_runtime@", "postgres@")


async def execute(url: str, statement: LiteralString) -> None:
    async with await psycopg.AsyncConnection.connect(superuser(url), autocommit=True) as connection:
        await connection.execute(statement)


@contextlib.asynccontextmanager
async def tampering(url: str) -> AsyncIterator[psycopg.AsyncConnection[dict[str, Any]]]:
    """A superuser's transaction, which is rolled back."""
    async with await psycopg.AsyncConnection.connect(superuser(url), row_factory=dict_row) as connection:
        yield connection
        await connection.rollback()


# Whoever tampers does away with what stands in the way.
UNBOUND = """DO $$DECLARE bound record; BEGIN
FOR bound IN SELECT conrelid::regclass AS name, conname FROM pg_constraint
    WHERE conrelid <> 0 AND (contype = 'c' OR conname = 'reversals_pkey')
LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', bound.name, bound.conname); END LOOP; END$$"""


class Tamper(NamedTuple):
    """`check` finds what `statement` changed, and says `names`, an expression over the changed row."""

    check: str
    statement: str
    names: str
    before: str = UNBOUND

    def sql(self) -> str:
        text = f"{self.before}; {self.statement} RETURNING {self.names} AS named"
        for word, meaning in MEANINGS.items():
            text = text.replace(word, meaning)
        return text


MEANINGS = {
    ":spent": "(SELECT transaction_id FROM entries WHERE kind = 2 ORDER BY recorded_at LIMIT 1)",
    ":active": "(SELECT hold_id FROM holds WHERE state = 1)",
    ":lot": "(SELECT lot_id FROM lots WHERE remaining > 0 AND expires_at IS NULL ORDER BY 1 LIMIT 1)",
    ":m_1s": "(SELECT lot_id FROM lots JOIN accounts USING (account_id) WHERE owner = 'm_1' LIMIT 1)",
    ":untouched": "UPDATE programs SET version = version",
}
T, A, H, L = "transaction_id", "account_id", "hold_id", "lot_id"
TAMPERS = (
    Tamper("every transaction sums", "UPDATE entries SET kind = 6 WHERE transaction_id = :spent", T),
    Tamper("every kind sums", "UPDATE entries SET kind = 42 WHERE transaction_id = :spent", "'kind 42'"),
    Tamper("a transfer has two", "UPDATE entries SET kind = 6 WHERE transaction_id = :spent", T),
    Tamper("an entry has the sign", "UPDATE entries SET kind = 1 WHERE transaction_id = :spent", T),
    Tamper("versions count up", "UPDATE entries SET version = 99 WHERE transaction_id = :spent", T),
    Tamper(
        "versions count up", "UPDATE entries SET recorded_at = recorded_at + interval '1 year' WHERE version = 2", A
    ),
    Tamper("versions count up", "DELETE FROM entries WHERE transaction_id = :spent", A),
    Tamper("the balance runs on", "UPDATE entries SET balance_after = 7 WHERE transaction_id = :spent", T),
    Tamper("the balance runs on", "UPDATE entries SET amount = 9223372036854775807 WHERE kind = 8", T),
    Tamper("an account is the sum", "UPDATE accounts SET posted = posted + 1 WHERE owner = 'm_2'", A),
    Tamper("an account is the sum", "UPDATE accounts SET version = version + 1 WHERE owner = 'm_2'", A),
    Tamper("an account is the sum", "UPDATE accounts SET last_at = '2020-01-01' WHERE owner = 'm_2'", A),
    Tamper("an account is the sum", "DELETE FROM accounts WHERE owner = 'm_2'", A),
    Tamper("held is the sum", "UPDATE accounts SET held = held + 1 WHERE owner = 'm_2'", A),
    Tamper("held is the sum", "UPDATE holds SET amount = amount + 1 WHERE state = 1", A),
    Tamper("nothing is held or owed", "UPDATE accounts SET held = posted + 1 WHERE owner = 'm_2'", A),
    Tamper("nothing is held or owed", "UPDATE accounts SET posted = held - 1 WHERE owner_kind = 2", A),
    Tamper("no spend ever", "UPDATE entries SET balance_after = -1 WHERE transaction_id = :spent", T),
    Tamper("a reversal names", "UPDATE entries SET reverses = gen_random_uuid() WHERE amount = 150", T),
    Tamper("a reversal names", "UPDATE entries SET reverses = transaction_id WHERE transaction_id = :spent", T),
    Tamper("a transaction is reversed", "UPDATE reversals SET reversed = reversed - 1", T),
    Tamper("a transaction is reversed", "UPDATE reversals SET amount = amount + 1", T),
    Tamper("a transaction is reversed", "DELETE FROM reversals", T),
    Tamper("a transaction is reversed", "INSERT INTO reversals SELECT * FROM reversals LIMIT 1", T),
    Tamper("a reversal gives back", "UPDATE lot_uses SET lot_id = :lot WHERE amount = -50", L),
    Tamper("what remains of a lot", "UPDATE lots SET open = false WHERE lot_id = :lot", L),
    Tamper("what remains of a lot", "UPDATE lots SET remaining = original + 1 WHERE lot_id = :lot", L),
    Tamper("points are in open lots", "UPDATE lots SET remaining = remaining - 1 WHERE lot_id = :lot", A),
    Tamper("points are in open lots", "DELETE FROM lots WHERE lot_id = :lot", A),
    Tamper("a lot lacks exactly", "UPDATE lots SET remaining = remaining - 1 WHERE lot_id = :lot", L),
    Tamper("a lot lacks exactly", "UPDATE lot_uses SET amount = 71 WHERE transaction_id = :active", L),
    Tamper("a debit draws", "UPDATE lot_uses SET amount = amount + 1 WHERE transaction_id = :spent", T),
    Tamper("a debit draws", "DELETE FROM lot_uses WHERE transaction_id = :active", T),
    Tamper("a debit draws", "INSERT INTO lot_uses SELECT program_id, lot_id, 9, lot_id, 1 FROM lots LIMIT 1", T),
    Tamper(
        "a transaction draws",
        "UPDATE lot_uses u SET lot_id = :m_1s FROM entries e WHERE e.transaction_id = "
        "u.transaction_id AND e.amount = -5",
        "u.transaction_id",
    ),
    Tamper("first to expire", "UPDATE lot_uses SET position = 7 - position WHERE transaction_id = :spent", T),
    Tamper("a captured hold", "UPDATE holds SET state = 2 WHERE hold_id = :active", H),
    Tamper("a captured hold", "UPDATE holds SET state = 3 WHERE amount = 350", H),
    Tamper("a captured hold", "UPDATE holds SET amount = 249 WHERE amount = 350", H),
    Tamper("a capture has", "DELETE FROM holds WHERE amount = 350", H),
    Tamper("a key that is done", "UPDATE idempotency_keys SET body = '\\x0a24' WHERE key = 'deposit'", "operation"),
    Tamper("a key that is done", "DELETE FROM holds WHERE hold_id = :active", H),
    Tamper(
        "no two keys",
        "INSERT INTO idempotency_keys SELECT program_id, operation, 'again', fingerprint, state, body "
        "FROM idempotency_keys WHERE key = 'deposit'",
        "encode(substring(body FROM 3 FOR 36), 'escape')",
    ),
    Tamper("history is append-only", ":untouched", "'UPDATE on entries'", "GRANT UPDATE ON entries TO ledger_runtime"),
    Tamper(
        "history is append-only", ":untouched", "'UPDATE on rules'", "GRANT UPDATE (version) ON rules TO ledger_runtime"
    ),
    Tamper("no column is an int4", ":untouched", "'holds.narrow'", "ALTER TABLE holds ADD COLUMN narrow int"),
    Tamper("what is acknowledged", ":untouched", "'synchronous_commit is off'", "SET LOCAL synchronous_commit = off"),
)


async def test_a_sound_ledger_is_sound(url: str) -> None:
    found = await findings(url)
    assert faults(found) == []
    looked_at = {one.check.of.split()[0]: one.looked_at for one in found}
    assert looked_at["pg_settings"] == 3
    assert min(looked_at.values()) > 0
    assert looked_at["audit.postings"] == 2 * looked_at["entries"]


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
    async with ledger(url, authority) as made, contextlib.aclosing(judge(url)) as judged:
        first = await anext(judged)
        # The snapshot is open: postings and a broken row commit all the same, and it sees neither.
        assert (await made.call("RedeemPoints", member_id="m_1", points=1)).points_redeemed == 1
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
            taken = await made.call("RedeemPoints", member_id="m_1", points=3)
            held = await made.hold("PlaceHold", account=account, amount=2)
            await made.call("ReversalPoints", transaction_id=taken.transaction_id)
            await made.hold("VoidHold", hold_id=held.hold_id)

    async with ledger(url, authority) as made:
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
    assert f"L2 broken: an account is the sum of its entries: 1 of 3. First: program {PROGRAM}, account " in text
