"""Deliveries when processes race, come late, are killed, or lack a key: at least once, and never overwritten."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest
from aiohttp import web
from sqlalchemy import update

from fulfillment_svc.webhooks import store
from fulfillment_svc.webhooks.rules import Status, Verdict
from fulfillment_svc.webhooks.sealer import Sealer
from fulfillment_svc.webhooks.ssrf import Guard
from fulfillment_svc.webhooks.store import LEASE, Claimed
from fulfillment_svc.webhooks.tables import webhook_endpoints
from fulfillment_svc.webhooks.tests.conftest import (
    PROGRAM,
    MovedClock,
    Registered,
    Sink,
    all_are,
    deliveries,
    event,
    eventually,
    ingest,
    is_active,
    register,
    running,
    somebody_waits_for_a_lock,
    statuses,
    store_program,
)
from fulfillment_svc.webhooks.worker import DeliveriesWorker
from svckit.db import Database, Tx

GUARD = Guard(allow_loopback=True)
ROOT = Path(__file__).parents[3]


async def _claim(db: Database, endpoint: Registered, clock: MovedClock) -> Claimed:
    batch = await db.transact(lambda tx: store.claim(tx, PROGRAM, endpoint.endpoint_id, clock))
    assert batch is not None
    (claimed,) = batch.deliveries
    return claimed


async def test_two_workers_make_each_delivery_once(db: Database, sealer: Sealer, sink: Sink) -> None:
    endpoints = [await register(db, sealer, sink.url) for _ in range(3)]
    sent = [event() for _ in range(40)]
    await ingest(db, *sent)
    async with running(*(DeliveriesWorker(db, sealer, GUARD) for _ in range(3))):
        for endpoint in endpoints:
            await eventually(partial(all_are, db, endpoint, "DELIVERED"))
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

        await eventually(lambda: somebody_waits_for_a_lock(db))
        child.kill()
        await child.wait()
        await holder.rollback()
    assert await statuses(db, endpoint) == ["PENDING"]
    sink.respond = None
    clock.move(seconds=LEASE.total_seconds() + 1)
    async with running(DeliveriesWorker(db, sealer, GUARD, clock=clock)):
        await eventually(lambda: all_are(db, endpoint, "DELIVERED"))
    assert len(sink.ids) == 2
    assert len(set(sink.ids)) == 1
    await db.close()


async def test_an_endpoint_whose_secret_does_not_open_alarms_and_holds_up_nobody_else(
    db: Database, sealer: Sealer, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    broken = await register(db, Sealer([b"k" * 32]), sink.url)
    healthy = await register(db, sealer, sink.url)
    await ingest(db, event())

    async def alarmed() -> bool:
        return "lane failed" in caplog.messages

    async with running(DeliveriesWorker(db, sealer, GUARD)):
        await eventually(lambda: all_are(db, healthy, "DELIVERED"))
        await eventually(alarmed)
    assert await statuses(db, broken) == ["PENDING"]
    assert len(sink.received) == 1


async def test_a_delivery_that_slipped_in_beside_a_410_is_not_left_lying(
    db: Database, sealer: Sealer, sink: Sink
) -> None:
    endpoint = await register(db, sealer, sink.url)
    await ingest(db, event())

    async def disable(tx: Tx) -> None:
        await tx.execute(update(webhook_endpoints).values(active=False))

    await db.transact(disable)
    async with running(DeliveriesWorker(db, sealer, GUARD)):
        await eventually(lambda: all_are(db, endpoint, "FAILED"))
    assert sink.received == []
