"""Deliveries end to end: real PostgreSQL, real HTTP servers as partners have them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from fulfillment_svc.webhooks import store
from fulfillment_svc.webhooks.rules import SCHEDULE
from fulfillment_svc.webhooks.sealer import Sealer
from fulfillment_svc.webhooks.sender import Sender
from fulfillment_svc.webhooks.ssrf import Guard
from fulfillment_svc.webhooks.tests.conftest import (
    PROGRAM,
    Canary,
    MovedClock,
    Sink,
    all_are,
    deliveries,
    event,
    eventually,
    ingest,
    is_active,
    listening,
    register,
    running,
    statuses,
    store_program,
    tried,
)
from fulfillment_svc.webhooks.worker import DeliveriesWorker
from svckit.db import Database

GUARD = Guard(allow_loopback=True)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def worker(db: Database, sealer: Sealer, clock: MovedClock) -> DeliveriesWorker:
    return DeliveriesWorker(db, sealer, GUARD, clock=clock)


def _answering(*answers: int, **headers: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Answers with these statuses one after another, and with the last one from then on."""
    left = list(answers)

    async def answer(_: web.Request) -> web.Response:
        status = left.pop(0) if len(left) > 1 else left[0]
        return web.Response(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return answer


async def test_an_event_arrives_signed_as_it_was_rendered(
    db: Database, sealer: Sealer, sink: Sink, worker: DeliveriesWorker
) -> None:
    endpoint = await register(db, sealer, sink.url)
    sent = [event(), event("m_2"), event()]
    async with running(worker):
        await ingest(db, *sent)
        worker.wake()
        await eventually(lambda: all_are(db, endpoint, "DELIVERED"))
    assert sorted(sink.ids) == [one.event_id for one in sent]
    for received in sink.received:
        payload = Webhook(endpoint.secret).verify(received.body, received.headers)
        assert payload["id"] == received.headers["webhook-id"]
    numbers = sorted((body["memberId"], body["sequence"]) for body in (json.loads(one.body) for one in sink.received))
    assert numbers == [("m_1", 1), ("m_1", 2), ("m_2", 1)]
    assert [(row.attempts, row.last_http_status, row.due_at) for row in await deliveries(db, endpoint)] == [
        (1, 204, None)
    ] * 3


async def test_a_failure_is_tried_again_with_the_same_id_and_a_fresh_timestamp(
    db: Database, sealer: Sealer, sink: Sink, clock: MovedClock
) -> None:
    sink.respond = _answering(500, 302, 200)
    endpoint = await register(db, sealer, sink.url)
    worker = DeliveriesWorker(db, sealer, GUARD, Sender(clock=clock), clock)
    await ingest(db, event())
    async with running(worker):
        for attempt, wait in ((1, SCHEDULE[1]), (2, SCHEDULE[2])):
            await eventually(partial(tried, db, endpoint, attempt))
            assert await statuses(db, endpoint) == ["PENDING"]
            clock.move(seconds=wait.total_seconds() * 1.1)
            worker.wake()
        await eventually(lambda: all_are(db, endpoint, "DELIVERED"))
    assert len(set(sink.ids)) == 1
    stamps = [int(received.headers["webhook-timestamp"]) for received in sink.received]
    assert (stamps[1] - stamps[0] >= 5, stamps[2] - stamps[1] >= 300) == (True, True)
    assert [len({received.body for received in sink.received}), len(sink.received)] == [1, 3]


async def test_after_the_last_attempt_it_has_failed_and_is_kept(
    db: Database, sealer: Sealer, sink: Sink, worker: DeliveriesWorker, clock: MovedClock
) -> None:
    sink.respond = _answering(500)
    endpoint = await register(db, sealer, sink.url)
    await ingest(db, event())
    async with running(worker):
        for attempt in range(1, len(SCHEDULE) + 1):
            await eventually(partial(tried, db, endpoint, attempt))
            clock.move(days=2)
            worker.wake()
        await eventually(lambda: all_are(db, endpoint, "FAILED"))
    assert len(sink.ids) == len(SCHEDULE)
    (row,) = await deliveries(db, endpoint)
    assert (row.attempts, row.last_http_status, row.due_at) == (10, 500, None)


async def test_410_disables_the_endpoint_and_ends_what_it_waits_for(
    db: Database, sealer: Sealer, sink: Sink, worker: DeliveriesWorker, clock: MovedClock
) -> None:
    sink.respond = _answering(500, 500, 410)
    endpoint = await register(db, sealer, sink.url)
    await ingest(db, event())
    async with running(worker):
        await eventually(lambda: tried(db, endpoint, 1))
        clock.move(seconds=6)
        await eventually(lambda: tried(db, endpoint, 2))
        await ingest(db, event())
        # The first one would have waited five minutes for its third attempt, which will never be.
        await eventually(lambda: all_are(db, endpoint, "FAILED"))
    assert len(sink.received) == 3
    assert not await is_active(db, endpoint)
    await ingest(db, event())
    assert len(await deliveries(db, endpoint)) == 2


async def test_an_endpoint_that_asks_for_a_pause_is_left_alone_with_everything(
    db: Database, sealer: Sealer, sink: Sink, worker: DeliveriesWorker, clock: MovedClock
) -> None:
    sink.respond = _answering(503, 200, retry_after="3600")
    endpoint = await register(db, sealer, sink.url)
    await ingest(db, event())
    async with running(worker):
        await eventually(lambda: tried(db, endpoint, 1))
    await ingest(db, event())
    clock.move(minutes=59)
    assert await db.transact(lambda tx: store.claim(tx, PROGRAM, endpoint.endpoint_id, clock)) is None
    clock.move(minutes=7)
    async with running(worker):
        await eventually(lambda: all_are(db, endpoint, "DELIVERED"))
    assert len(sink.received) == 3


async def test_a_slow_endpoint_and_a_dead_one_hold_up_nobody_else(
    db: Database, sealer: Sealer, sink: Sink, worker: DeliveriesWorker
) -> None:
    released = asyncio.Event()

    async def stuck(_: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    async with AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(listening(Sink(respond=stuck))) for _ in range(3)]
        for one in slow:
            await register(db, sealer, one.url)
        gone = await register(db, sealer, "http://127.0.0.1:1/")
        healthy = await register(db, sealer, sink.url)
        sent = [event() for _ in range(30)]
        await ingest(db, *sent)
        async with running(worker):
            await eventually(lambda: all_are(db, healthy, "DELIVERED"))
            await eventually(lambda: tried(db, gone, 1))
            assert all(one.received for one in slow)
            assert sorted(sink.ids) == [one.event_id for one in sent]
            released.set()


async def test_a_name_that_has_moved_inside_is_a_failed_attempt_without_a_connection(
    db: Database, sealer: Sealer, canary: Canary
) -> None:
    await store_program(db, "acme", sandbox=False)

    async def inside(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    url = f"https://moved.example:{canary.port}/hook"
    endpoint = await register(db, sealer, url, program_id="acme")
    await ingest(db, event(program_id="acme"))
    guard = Guard(lookup=inside, ports={canary.port}, allow_loopback=True)
    async with running(DeliveriesWorker(db, sealer, guard)):
        await eventually(lambda: tried(db, endpoint, 1))
    (row,) = await deliveries(db, endpoint)
    assert (row.status, row.last_http_status) == ("PENDING", 0)
    assert canary.connections == 0


async def test_retries_follow_the_clock_of_a_sandbox(db: Database, sealer: Sealer, sink: Sink, worker: Any) -> None:
    sink.respond = _answering(500, 200)
    endpoint = await register(db, sealer, sink.url)
    await ingest(db, event())
    async with running(worker):
        await eventually(lambda: tried(db, endpoint, 1))
        await store_program(db, version=2, clock_offset_s=10)
        await eventually(lambda: all_are(db, endpoint, "DELIVERED"))


async def test_many_events_for_one_endpoint_are_all_made(
    db: Database, sealer: Sealer, sink: Sink, worker: DeliveriesWorker
) -> None:
    endpoint = await register(db, sealer, sink.url)
    sent = [event(f"m_{number % 7}") for number in range(100)]
    await ingest(db, *sent)
    async with running(worker):
        await eventually(lambda: all_are(db, endpoint, "DELIVERED"))
    assert sorted(sink.ids) == sorted(one.event_id for one in sent)
