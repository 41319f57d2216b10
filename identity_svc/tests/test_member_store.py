"""Members in real PostgreSQL: what two connections can and cannot do at the same time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import exc, text, update

from identity_svc import tables
from identity_svc.members import store
from identity_svc.members.rules import Status
from identity_svc.members.store import Record, SealedRelation
from svckit.db import Database, Tx
from svckit.errors import Refused

AT = datetime(2026, 1, 1, tzinfo=UTC)
RELATION = SealedRelation("crm", b"mac", b"sealed")


def record(member_id: str, program_id: str = "acme") -> Record:
    return Record(program_id, member_id, Status.ACTIVE, 1, 1, 0, b"sealed", AT, b"wrapped")


@pytest.fixture
async def db(fresh_database: Callable[[str], Awaitable[Database]]) -> Database:
    return await fresh_database("identity_svc")


@pytest.fixture
async def pair(db: Database) -> AsyncIterator[tuple[Tx, Tx]]:
    """Two connections, each in its transaction."""
    async with db.read() as first, db.read() as second:
        yield first, second


async def until_it_waits(db: Database) -> None:
    """Returns when some connection waits for another's transaction."""
    async with asyncio.timeout(5), db.read() as tx:
        waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        while not await tx.scalar(waits):  # noqa: ASYNC110 - PostgreSQL tells of no wait unasked
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("committed", "second_wins"), [(True, False), (False, True)])
async def test_one_of_two_gets_a_member_id(
    db: Database, pair: tuple[Tx, Tx], *, committed: bool, second_wins: bool
) -> None:
    first, second = pair
    assert await store.add(first, record("m_1"))
    rival = asyncio.create_task(store.add(second, record("m_1")))
    await until_it_waits(db)
    assert not rival.done()
    await (first.commit() if committed else first.rollback())
    assert await rival is second_wins


@pytest.mark.parametrize(("committed", "linked"), [(True, 0), (False, 1)])
async def test_one_of_two_members_gets_a_relation(
    db: Database, pair: tuple[Tx, Tx], *, committed: bool, linked: int
) -> None:
    async def both(tx: Tx) -> None:
        await store.add(tx, record("m_1"))
        await store.add(tx, record("m_2"))

    await db.transact(both)
    first, second = pair
    assert await store.link(first, record("m_1"), [RELATION], AT) == 1
    rival = asyncio.create_task(store.link(second, record("m_2"), [RELATION], AT))
    await until_it_waits(db)
    await (first.commit() if committed else first.rollback())
    assert await rival == linked
    if committed:
        assert await store.owner(second, "acme", RELATION) == "m_1"


async def test_programs_do_not_see_each_others_members_and_relations(db: Database) -> None:
    async def both(tx: Tx) -> None:
        for program_id in ("acme", "other"):
            assert await store.add(tx, record("m_1", program_id))
            assert await store.link(tx, record("m_1", program_id), [RELATION], AT) == 1

    await db.transact(both)
    async with db.read() as tx:
        assert await store.owner(tx, "third", RELATION) is None
        with pytest.raises(Refused, match="no such member"):
            await store.get(tx, "third", "m_1")


async def test_a_member_without_its_key_is_gone(db: Database) -> None:
    async def work(tx: Tx) -> None:
        values = {"program_id": "acme", "member_id": "m_1", "status": "ACTIVE", "version": 1}
        await tx.execute(
            tables.members.insert().values(
                **values, standing_version=1, synced_version=0, attributes=b"x", created_at=AT
            )
        )

    await db.transact(work)
    async with db.read() as tx:
        with pytest.raises(Refused, match="no such member"):
            await store.get(tx, "acme", "m_1")


async def test_leftovers_are_found_until_the_ledger_has_them(db: Database) -> None:
    await db.transact(lambda tx: store.add(tx, record("m_1")))
    async with db.read() as tx:
        assert [one.member_id for one in await store.not_synced(tx)] == ["m_1"]
    await db.transact(lambda tx: store.mark_synced(tx, record("m_1")))
    async with db.read() as tx:
        assert await store.not_synced(tx) == []


async def test_the_ledgers_version_never_goes_back(db: Database) -> None:
    await db.transact(lambda tx: store.add(tx, record("m_1")))
    moved = update(tables.members).values(version=3, standing_version=3, synced_version=3)
    await db.transact(lambda tx: tx.execute(moved))
    await db.transact(lambda tx: store.mark_synced(tx, record("m_1")))
    async with db.read() as tx:
        assert (await store.get(tx, "acme", "m_1")).synced_version == 3


@pytest.mark.parametrize("values", [{"status": "UNKNOWN"}, {"synced_version": 2}, {"standing_version": 5}])
async def test_the_database_refuses_what_cannot_be(db: Database, values: dict[str, object]) -> None:
    await db.transact(lambda tx: store.add(tx, record("m_1")))
    async with db.read() as tx:
        with pytest.raises(exc.IntegrityError):
            await tx.execute(update(tables.members).values(**values))
