"""Redemptions in a real PostgreSQL: who may write, what a lease is worth, what the database itself refuses."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from fulfillment_svc import leases_store
from fulfillment_svc.codes import Place, SealBrokenError, Vault
from fulfillment_svc.redemptions import rules, secrets_store, store
from fulfillment_svc.redemptions.states import TERMINAL, Answer, State
from fulfillment_svc.redemptions.store import Then
from fulfillment_svc.redemptions.tables import redemptions
from fulfillment_svc.redemptions.values import Choice, Redemption, Reply, Unit
from svckit.db import Database, Tx

CHOICE = Choice("coffee-10", 3, "Coffee", "Kaffa", 2, 1000, "USD", 1600)
HOLD = Reply(Answer.DONE, hold_id=uuid.uuid4())
VAULT = Vault([b"k" * 32])


def new(program_id: str = "acme", state: State = State.HOLDING_POINTS) -> Redemption:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Redemption(program_id, uuid.uuid4(), "m_1", CHOICE, "sandbox", "k", now, (Unit(),) * 2, state=state)


async def stored(db: Database, redemption: Redemption, lease_s: float = 0.0) -> Redemption:
    await db.transact(lambda tx: store.insert_redemption(tx, redemption, lease_s))
    return redemption


async def run(db: Database, statement: str, **values: Any) -> Sequence[Any]:
    async def work(tx: Tx) -> Sequence[Any]:
        result = await tx.execute(text(statement), values)
        return result.all() if result.returns_rows else []

    return await db.transact(work)


async def claim(db: Database) -> Redemption | None:
    async with db.read() as tx:
        program_id = await leases_store.program_with_due(tx, redemptions)
    return None if program_id is None else await db.transact(lambda tx: store.claim_due(tx, program_id, 60))


async def settle(db: Database, before: Redemption, reply: Reply) -> Redemption:
    after = rules.settle(before, reply)
    await db.transact(lambda tx: store.update_redemption(tx, before, after, reply, Then(60, leased=True)))
    return after


async def test_what_is_stored_is_read(db: Database) -> None:
    one = await stored(db, new())
    async with db.read() as tx:
        assert await store.find(tx, "acme", one.redemption_id) == one
        assert await store.find(tx, "rival", one.redemption_id) is None
    held = await settle(db, one, HOLD)
    async with db.read() as tx:
        assert await store.find(tx, "acme", one.redemption_id) == held
    edges = await run(db, "SELECT version, state, answer FROM redemption_edges ORDER BY version")
    assert edges == [(1, "HOLDING_POINTS", None), (2, "HOLDING_FUNDING", "DONE")]


async def test_one_redemption_is_claimed_by_one_of_two(db: Database) -> None:
    one = await stored(db, new())
    async with db.read() as first, db.read() as second:
        ours = await store.claim_due(first, "acme", 60)
        assert ours is not None
        assert ours.redemption_id == one.redemption_id
        assert await store.claim_due(second, "acme", 60) is None, "nobody waits for a row that is being claimed"
        await first.commit()
        assert await store.claim_due(second, "acme", 60) is None, "the lease holds"


async def test_two_redemptions_are_claimed_by_two(db: Database) -> None:
    await stored(db, new())
    await stored(db, new())
    async with db.read() as first, db.read() as second:
        ours, theirs = await store.claim_due(first, "acme", 60), await store.claim_due(second, "acme", 60)
    assert ours is not None
    assert theirs is not None
    assert ours.redemption_id != theirs.redemption_id


async def test_a_claim_under_an_old_token_writes_nothing(db: Database) -> None:
    first = await stored(db, new())
    second = await claim(db)
    assert second == replace(first, fencing_token=2, attempts=1)
    with pytest.raises(store.LeaseLost):
        await settle(db, first, HOLD)
    assert await run(db, "SELECT state, version FROM redemptions") == [("HOLDING_POINTS", 1)]
    assert await run(db, "SELECT count(*) FROM redemption_edges") == [(1,)]
    await settle(db, second, HOLD)
    with pytest.raises(store.LeaseLost):
        await settle(db, first, HOLD)


async def test_a_lease_is_taken_over_only_when_it_has_run_out(db: Database) -> None:
    one = await stored(db, new(), lease_s=60)
    assert await claim(db) is None
    await run(db, "UPDATE redemptions SET due_at = now() - interval '1 second'")
    taken = await claim(db)
    assert taken is not None
    assert (taken.redemption_id, taken.fencing_token) == (one.redemption_id, 2)


@pytest.mark.parametrize("state", sorted(set(State) - TERMINAL))
async def test_every_state_that_is_no_end_is_picked_up(db: Database, state: State) -> None:
    one = await stored(db, new(state=state))
    taken = await claim(db)
    assert taken is not None
    assert taken.redemption_id == one.redemption_id


@pytest.mark.parametrize("state", sorted(TERMINAL))
async def test_the_database_keeps_what_is_open_due_and_what_has_ended_not(db: Database, state: State) -> None:
    one = await stored(db, new())
    with pytest.raises(IntegrityError, match="redemptions_due_unless_ended"):
        await run(db, "UPDATE redemptions SET due_at = NULL")
    with pytest.raises(IntegrityError, match="redemptions_state_known"):
        await run(db, "UPDATE redemptions SET state = 'LOST'")
    ended, left_alone = replace(one, state=state, version=2), Then(None, leased=False)
    await db.transact(lambda tx: store.update_redemption(tx, one, ended, Reply(Answer.DONE), left_alone))
    assert await claim(db) is None


@pytest.mark.parametrize("statement", ["UPDATE redemption_edges SET version = 9", "DELETE FROM redemption_edges"])
async def test_the_service_cannot_change_history(db: Database, statement: str) -> None:
    await stored(db, new())
    with pytest.raises(ProgrammingError, match="permission denied"):
        await run(db, statement)


async def test_an_item_never_gets_a_second_code(db: Database) -> None:
    one = await stored(db, new())
    place = Place("acme", one.redemption_id, 1)
    for code in (b"first", b"second"):
        sealed = {place: VAULT.seal(code, place)}
        if code == b"first":
            await db.transact(lambda tx, sealed=sealed: secrets_store.insert_secrets(tx, sealed))  # type: ignore[misc]
    with pytest.raises(IntegrityError):
        await db.transact(lambda tx: secrets_store.insert_secrets(tx, sealed))


async def test_codes_swapped_between_rows_do_not_open(db: Database) -> None:
    one = await stored(db, new())
    places = [Place("acme", one.redemption_id, number) for number in (1, 2)]
    sealed = {place: VAULT.seal(b"code", place) for place in places}
    await db.transact(lambda tx: secrets_store.insert_secrets(tx, sealed))
    await run(
        db,
        "UPDATE redemption_secrets a SET ciphertext = b.ciphertext, wrapped_key = b.wrapped_key"
        " FROM redemption_secrets b WHERE a.number <> b.number",
    )
    async with db.read() as tx:
        swapped = await secrets_store.secrets(tx, one)
    for place in places:
        with pytest.raises(SealBrokenError):
            VAULT.open(swapped[place], place)


async def test_the_oldest_due_goes_first_and_a_claim_counts_its_attempts(db: Database) -> None:
    await stored(db, new("beta"), lease_s=-10)
    oldest = await stored(db, new("acme"), lease_s=-20)
    first, second = await claim(db), await claim(db)
    assert first is not None
    assert second is not None
    assert (first.redemption_id, first.attempts) == (oldest.redemption_id, 1)
    assert second.program_id == "beta"
    moved = await settle(db, first, HOLD)
    assert moved.attempts == 0


async def test_the_age_of_an_order_is_that_of_its_last_sending(db: Database) -> None:
    one = await stored(db, new(state=State.ACCEPTED))
    assert one.sent_s_ago == 0
    sent = await settle(db, one, Reply(Answer.SENT))
    assert sent.state is State.ORDERING
    await run(db, "UPDATE redemptions SET sent_at = sent_at - interval '5 seconds', due_at = now()")
    taken = await claim(db)
    assert taken is not None
    assert 5 <= taken.sent_s_ago < 60
