"""Deliveries end to end: real PostgreSQL, real HTTP servers as partners have them."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiohttp import web
from sqlalchemy import update
from standardwebhooks import Webhook

from fulfillment_svc.webhooks import store
from fulfillment_svc.webhooks.rules import SCHEDULE, Status, Verdict
from fulfillment_svc.webhooks.sealer import Sealer
from fulfillment_svc.webhooks.sender import Sender
from fulfillment_svc.webhooks.ssrf import Guard
from fulfillment_svc.webhooks.store import LEASE, Claimed
from fulfillment_svc.webhooks.tables import webhook_endpoints
from fulfillment_svc.webhooks.tests.conftest import (
    PROGRAM,
    Canary,
    MovedClock,
    Registered,
    Sink,
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
)
from fulfillment_svc.webhooks.worker import DeliveriesWorker
from svckit.db import Database, Tx

GUARD = Guard(allow_loopback=True)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def worker(db: Database, sealer: Sealer, clock: MovedClock) -> DeliveriesWorker:
    return DeliveriesWorker(db, sealer, GUARD, clock=clock)


async def _all(db: Database, endpoint: Registered, status: str) -> bool:
    return set(await statuses(db, endpoint)) == {status}


async def _attempts(db: Database, endpoint: Registered, least: int) -> bool:
    return all(row.attempts >= least for row in await deliveries(db, endpoint))


def _answering(*answers: int, **headers: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Answers with these statuses one after another, and with the last one from then on."""
    left = list(answers)

    async def answer(_: web.Request) -> web.Response:
        status = left.pop(0) if len(left) > 1 else left[0]
        return web.Response(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return answer


async def _claim(db: Database, endpoint: Registered, clock: MovedClock) -> Claimed:
    batch = await db.transact(lambda tx: store.claim(tx, PROGRAM, endpoint.endpoint_id, clock))
    assert batch is not None
    (claimed,) = batch.deliveries
    return claimed


async def test_an_event_arrives_signed_as_it_was_rendered(
    db: Database, sealer: Sealer, sink: Sink, worker: DeliveriesWorker
) -> None:
    endpoint = await register(db, sealer, sink.url)
    sent = [event(), event("m_2"), event()]
    async with running(worker):
        await ingest(db, *sent)
        worker.wake()
        await eventually(lambda: _all(db, endpoint, "DELIVERED"))
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
            await eventually(partial(_attempts, db, endpoint, attempt))
            assert await statuses(db, endpoint) == ["PENDING"]
            clock.move(seconds=wait.total_seconds() * 1.1)
            worker.wake()
        await eventually(lambda: _all(db, endpoint, "DELIVERED"))
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
            await eventually(partial(_attempts, db, endpoint, attempt))
            clock.move(days=2)
            worker.wake()
        await eventually(lambda: _all(db, endpoint, "FAILED"))
    assert len(sink.ids) == len(SCHEDULE)
    (row,) = await deliveries(db, endpoint)
    assert (row.attempts, row.last_http_status, row.due_at) == (10, 500, None)


async def test_410_disables_the_endpoint_and_ends_what_it_waits_for(
    db: Database, sealer: Sealer, sink: Sink, worker: DeliveriesWorker, clock: MovedClock
) -> None:
    sink.respond = _answering(500, 410)
    endpoint = await register(db, sealer, sink.url)
    await ingest(db, event())
    async with running(worker):
        await eventually(lambda: _attempts(db, endpoint, 1))
        await ingest(db, event())
        worker.wake()
        # The first one waits for its second attempt, which will never be.
        await eventually(lambda: _all(db, endpoint, "FAILED"))
    assert len(sink.received) == 2
    assert not await is_active(db, endpoint)
    await ingest(db, event())
    assert len(await deliveries(db, endpoint)) == 2


async def test_a_delivery_that_slipped_in_beside_a_410_is_not_left_lying(
    db: Database, sealer: Sealer, sink: Sink, worker: DeliveriesWorker
) -> None:
    endpoint = await register(db, sealer, sink.url)
    await ingest(db, event())

    async def disable(tx: Tx) -> None:
        await tx.execute(update(webhook_endpoints).values(active=False))

    await db.transact(disable)
    async with running(worker):
        await eventually(lambda: _all(db, endpoint, "FAILED"))
    assert sink.received == []


async def test_an_endpoint_that_asks_for_a_pause_is_left_alone_with_everything(
    db: Database, sealer: Sealer, sink: Sink, worker: DeliveriesWorker, clock: MovedClock
) -> None:
    sink.respond = _answering(503, 200, retry_after="3600")
    endpoint = await register(db, sealer, sink.url)
    await ingest(db, event())
    async with running(worker):
        await eventually(lambda: _attempts(db, endpoint, 1))
    await ingest(db, event())
    clock.move(minutes=59)
    assert await db.transact(lambda tx: store.claim(tx, PROGRAM, endpoint.endpoint_id, clock)) is None
    clock.move(minutes=7)
    async with running(worker):
        await eventually(lambda: _all(db, endpoint, "DELIVERED"))
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
            await eventually(lambda: _all(db, healthy, "DELIVERED"))
            await eventually(lambda: _attempts(db, gone, 1))
            assert all(one.received for one in slow)
            assert sorted(sink.ids) == [one.event_id for one in sent]
            released.set()


async def test_two_workers_make_each_delivery_once(db: Database, sealer: Sealer, sink: Sink) -> None:
    endpoints = [await register(db, sealer, sink.url) for _ in range(3)]
    sent = [event() for _ in range(40)]
    await ingest(db, *sent)
    async with running(*(DeliveriesWorker(db, sealer, GUARD) for _ in range(3))):
        for endpoint in endpoints:
            await eventually(partial(_all, db, endpoint, "DELIVERED"))
    assert sorted(sink.ids) == sorted([one.event_id for one in sent] * 3)


async def test_a_late_worker_does_not_overwrite_a_newer_one(db: Database, sealer: Sealer, clock: MovedClock) -> None:
    endpoint = await register(db, sealer, "http://127.0.0.1:1/")
    await ingest(db, event())
    late = await _claim(db, endpoint, clock)
    assert await db.transact(lambda tx: store.claim(tx, PROGRAM, endpoint.endpoint_id, clock)) is None
    clock.move(seconds=LEASE.total_seconds() + 1)
    newer = await _claim(db, endpoint, clock)
    assert newer.event_id == late.event_id

    def settle(claimed: Claimed, status: int, verdict: Verdict) -> Awaitable[bool]:
        return db.transact(lambda tx: store.settle(tx, claimed, status, verdict))

    assert not await settle(late, 410, Verdict(Status.FAILED, disables=True))
    assert await is_active(db, endpoint)
    assert await settle(newer, 204, Verdict(Status.DELIVERED))
    assert not await settle(late, 500, Verdict(Status.PENDING, due_at=clock() + timedelta(seconds=5)))
    assert not await settle(newer, 500, Verdict(Status.FAILED))
    (row,) = await deliveries(db, endpoint)
    assert (row.status, row.attempts, row.last_http_status) == ("DELIVERED", 1, 204)


async def test_a_worker_that_is_killed_between_answer_and_mark_leads_to_the_same_id_again(
    fresh_url: Callable[[str], Awaitable[str]], sealer: Sealer, sink: Sink, clock: MovedClock
) -> None:
    url = await fresh_url("fulfillment_svc")
    db = Database(url)
    await store_program(db)
    endpoint = await register(db, sealer, sink.url)
    await ingest(db, event())
    async with await psycopg.AsyncConnection.connect(url) as holder:

        async def answer_and_hold(_: web.Request) -> web.Response:
            # Whoever marks the delivery now has to wait for this lock.
            await holder.execute("SELECT 1 FROM webhook_deliveries FOR UPDATE")
            return web.Response()

        sink.respond = answer_and_hold
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fulfillment_svc.webhooks.tests.worker_process", url, cwd=ROOT
        )

        async def marking() -> bool:
            waits = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            async with db.read() as tx:
                return bool((await tx.exec_driver_sql(waits)).scalar())

        await eventually(marking)
        child.kill()
        await child.wait()
        await holder.rollback()
    assert await statuses(db, endpoint) == ["PENDING"]
    sink.respond = None
    clock.move(seconds=LEASE.total_seconds() + 1)
    async with running(DeliveriesWorker(db, sealer, GUARD, clock=clock)):
        await eventually(lambda: _all(db, endpoint, "DELIVERED"))
    assert len(sink.ids) == 2
    assert len(set(sink.ids)) == 1
    await db.close()


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
        await eventually(lambda: _attempts(db, endpoint, 1))
    (row,) = await deliveries(db, endpoint)
    assert (row.status, row.last_http_status) == ("PENDING", 0)
    assert canary.connections == 0


async def test_an_endpoint_whose_secret_does_not_open_alarms_and_holds_up_nobody_else(
    db: Database, sealer: Sealer, sink: Sink, worker: DeliveriesWorker, caplog: pytest.LogCaptureFixture
) -> None:
    broken = await register(db, Sealer([b"k" * 32]), sink.url)
    healthy = await register(db, sealer, sink.url)
    await ingest(db, event())

    async def alarmed() -> bool:
        return "lane failed" in caplog.messages

    async with running(worker):
        await eventually(lambda: _all(db, healthy, "DELIVERED"))
        await eventually(alarmed)
    assert await statuses(db, broken) == ["PENDING"]
    assert len(sink.received) == 1


async def test_retries_follow_the_clock_of_a_sandbox(db: Database, sealer: Sealer, sink: Sink, worker: Any) -> None:
    sink.respond = _answering(500, 200)
    endpoint = await register(db, sealer, sink.url)
    await ingest(db, event())
    async with running(worker):
        await eventually(lambda: _attempts(db, endpoint, 1))
        await store_program(db, version=2, clock_offset_s=10)
        await eventually(lambda: _all(db, endpoint, "DELIVERED"))


async def test_many_events_for_one_endpoint_are_all_made(
    db: Database, sealer: Sealer, sink: Sink, worker: DeliveriesWorker
) -> None:
    endpoint = await register(db, sealer, sink.url)
    sent = [event(f"m_{number % 7}") for number in range(100)]
    await ingest(db, *sent)
    async with running(worker):
        await eventually(lambda: _all(db, endpoint, "DELIVERED"))
    assert sorted(sink.ids) == sorted(one.event_id for one in sent)
