"""Taking events in: once each, in sequences without a gap, with the deliveries that they mean."""

import asyncio
import json
import random
from typing import Any

import pytest
from rewards.fulfillment.v1 import webhooks_pb2 as pb
from sqlalchemy import delete, select, update
from sqlalchemy.exc import ProgrammingError

from fulfillment_svc.webhooks import ingest_store
from fulfillment_svc.webhooks.sealer import Sealer
from fulfillment_svc.webhooks.tables import events, webhook_endpoints
from fulfillment_svc.webhooks.tests.conftest import (
    PROGRAM,
    deliveries,
    event,
    eventually,
    ingest,
    register,
    somebody_waits_for_a_lock,
    store_program,
)
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused

URL = "https://partner.example/hook"


async def _sequences(db: Database) -> dict[str, list[int]]:
    """Each member's sequence numbers, in the order of the events' ids."""
    found: dict[str, list[int]] = {}
    async with db.read() as tx:
        rows = await tx.execute(select(events.c.member_id, events.c.sequence).order_by(events.c.event_id))
        for row in rows:
            found.setdefault(row.member_id, []).append(row.sequence)
    return found


async def _payloads(db: Database) -> list[Any]:
    async with db.read() as tx:
        return [json.loads(body) for body in await tx.scalars(select(events.c.payload).order_by(events.c.event_id))]


async def _race(db: Database, batches: list[list[pb.Event]]) -> list[int]:
    """Takes the batches in at once; how many events of each were new. Fails if one had to run twice,
    which is what a deadlock would lead to."""
    runs = []

    async def taken_in(batch: list[pb.Event]) -> int:
        async def work(tx: Tx) -> int:
            runs.append(batch)
            return await ingest_store.ingest(tx, batch)

        return await db.transact(work)

    taken = await asyncio.gather(*map(taken_in, batches))
    assert len(runs) == len(batches)
    return taken


async def test_members_count_by_themselves_and_events_of_nobody_too(db: Database) -> None:
    assert await ingest(db, event("m_1"), event("m_2"), event("m_1"), event("", "funding.low")) == 4
    assert await ingest(db, event("m_1"), event("", "funding.low")) == 2
    assert await _sequences(db) == {"m_1": [1, 2, 3], "m_2": [1], "": [1, 2]}


async def test_an_event_is_taken_in_once_and_takes_no_number_again(db: Database, sealer: Sealer) -> None:
    endpoint = await register(db, sealer, URL)
    first, second, third = event(), event(), event()
    assert await ingest(db, first, second, first) == 2
    assert await ingest(db, second, third, first) == 1
    assert await _sequences(db) == {"m_1": [1, 2, 3]}
    assert len(await deliveries(db, endpoint)) == 3


async def test_the_payload_is_rendered_once_with_its_number(db: Database) -> None:
    one = event(data_json='{"points":12.50,"reason":"Zoë"}')
    await ingest(db, one)
    async with db.read() as tx:
        body = await tx.scalar(select(events.c.payload))
    assert body is not None
    assert body.endswith('"sequence":1,"data":{"points":12.50,"reason":"Zoë"}}'.encode())
    (payload,) = await _payloads(db)
    assert payload.pop("createdAt").endswith("Z")
    assert payload == {
        "id": one.event_id,
        "type": "points.earned",
        "programId": PROGRAM,
        "livemode": False,
        "memberId": "m_1",
        "sequence": 1,
        "data": {"points": 12.5, "reason": "Zoë"},
    }


async def test_a_live_program_says_so(db: Database) -> None:
    await store_program(db, "acme", sandbox=False)
    await ingest(db, event(program_id="acme"), event())
    assert [(payload["programId"], payload["livemode"]) for payload in await _payloads(db)] == [
        ("acme", True),
        (PROGRAM, False),
    ]


async def test_a_delivery_is_queued_for_each_active_endpoint_that_wants_the_type(db: Database, sealer: Sealer) -> None:
    await store_program(db, "other")
    everything = await register(db, sealer, URL)
    earned = await register(db, sealer, URL, "points.earned", "tier.upgraded")
    disabled = await register(db, sealer, URL)
    foreign = await register(db, sealer, URL, program_id="other")

    async def disable(tx: Tx) -> None:
        mine = webhook_endpoints.c.endpoint_id == disabled.endpoint_id
        await tx.execute(update(webhook_endpoints).where(mine).values(active=False))

    await db.transact(disable)
    await ingest(db, event(), event(event_type="points.redeemed"))
    queued = [len(await deliveries(db, endpoint)) for endpoint in (everything, earned, disabled, foreign)]
    assert queued == [2, 1, 0, 0]


@pytest.mark.parametrize("data_json", ["[]", "{,}", '{"a":NaN}'])
async def test_what_is_no_object_is_refused_and_nothing_is_taken_in(db: Database, data_json: str) -> None:
    with pytest.raises(Refused) as caught:
        await ingest(db, event(), event(data_json=data_json))
    assert caught.value.reason == Reason.INVALID_REQUEST
    assert await _sequences(db) == {}


async def test_an_unknown_program_is_refused(db: Database) -> None:
    with pytest.raises(Refused) as caught:
        await ingest(db, event(program_id="nobodys"))
    assert caught.value.reason == Reason.NOT_FOUND


async def test_a_callers_transaction_that_fails_takes_nothing_in_and_leaves_no_gap(db: Database) -> None:
    async def work(tx: Tx) -> None:
        await ingest_store.ingest(tx, [event()])
        raise Refused(Reason.CONFLICT, "something else went wrong")

    with pytest.raises(Refused):
        await db.transact(work)
    await ingest(db, event())
    assert await _sequences(db) == {"m_1": [1]}


async def test_sequences_have_no_gap_whoever_races(db: Database) -> None:
    # Overlapping batches with their members in every order, and twins of each other's events.
    chance = random.Random(7)  # noqa: S311 - a test repeats
    members = [f"m_{number}" for number in range(6)]
    everything = [event(chance.choice(members)) for _ in range(150)]
    batches: list[list[pb.Event]] = [chance.sample(everything, 30) for _ in range(20)]
    taken = await _race(db, batches)
    distinct = {one.event_id for batch in batches for one in batch}
    assert sum(taken) == len(distinct)
    numbers = await _sequences(db)
    assert sum(map(len, numbers.values())) == len(distinct)
    for found in numbers.values():
        assert sorted(found) == list(range(1, len(found) + 1))


@pytest.mark.parametrize("known", [True, False])
async def test_members_are_locked_in_the_order_of_their_ids(db: Database, *, known: bool) -> None:
    # A batch that waits for its first member holds no later one, in whatever order its events are, and
    # whether the counters are there already. So no two batches can wait for each other.
    if known:
        await ingest(db, event("m_b"))
        await ingest(db, event("m_a"))
    holding, may_end = asyncio.Event(), asyncio.Event()

    async def hold(tx: Tx) -> None:
        await ingest_store.ingest(tx, [event("m_a")])
        holding.set()
        await may_end.wait()

    holder = asyncio.create_task(db.transact(hold))
    await holding.wait()
    both = asyncio.create_task(ingest(db, event("m_b"), event("m_a")))
    await eventually(lambda: somebody_waits_for_a_lock(db))
    assert await ingest(db, event("m_b")) == 1
    may_end.set()
    await asyncio.gather(holder, both)


async def test_numbers_follow_the_order_of_commits(db: Database) -> None:
    # Whoever asks for a member's number waits for the one before, so a reader that sees number n sees n-1.
    first_in, first_may_end = asyncio.Event(), asyncio.Event()

    async def slow(tx: Tx) -> None:
        await ingest_store.ingest(tx, [event()])
        first_in.set()
        await first_may_end.wait()

    first = asyncio.create_task(db.transact(slow))
    await first_in.wait()
    second = asyncio.create_task(ingest(db, event()))
    assert await ingest(db, event("m_2")) == 1
    assert await _sequences(db) == {"m_2": [1]}
    first_may_end.set()
    await asyncio.gather(first, second)
    assert (await _sequences(db))["m_1"] == [1, 2]


@pytest.mark.parametrize("change", [update(events).values(type="forged"), delete(events)])
async def test_an_event_cannot_be_changed_by_the_service(db: Database, change: Any) -> None:
    await ingest(db, event())

    async def work(tx: Tx) -> None:
        await tx.execute(change)

    with pytest.raises(ProgrammingError, match="permission denied"):
        await db.transact(work)
