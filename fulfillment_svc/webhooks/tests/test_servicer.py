"""The RPCs through the real server, as partners and services call them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status
from rewards.fulfillment.v1 import webhooks_pb2 as pb
from rewards.fulfillment.v1 import webhooks_pb2_grpc
from sqlalchemy import MetaData, select, text

from devmesh.pki import Authority
from fulfillment_svc.tables import keys
from fulfillment_svc.webhooks.sealer import Sealer
from fulfillment_svc.webhooks.servicer import EventsServicer, WebhooksServicer
from fulfillment_svc.webhooks.ssrf import Guard
from fulfillment_svc.webhooks.tables import events, webhook_endpoints
from fulfillment_svc.webhooks.tests.conftest import PROGRAM, event, ingest, register, store_program
from svckit.clients import open_channel
from svckit.clock import new_id
from svckit.db import Database
from svckit.errors import Reason, Refused, from_status
from svckit.idempotency import Idempotency
from svckit.outbox import Draft, Outbox
from svckit.testing import headers, partner, serving

CALLER = partner(PROGRAM, "webhooks:write")
URL = "https://partner.example/hook"


@dataclass
class Names:
    """A resolver whose one name is moved by a test."""

    addresses: tuple[str, ...] = ("93.184.216.34",)

    async def __call__(self, host: str, port: int) -> list[str]:
        return list(self.addresses)


@dataclass
class Door:
    """Stubs as the gateway and as ledger_svc have them; `woken` counts the hints to the worker."""

    webhooks: "webhooks_pb2_grpc.WebhooksServiceAsyncStub"
    events: "webhooks_pb2_grpc.EventsServiceAsyncStub"
    events_from_outside: "webhooks_pb2_grpc.EventsServiceAsyncStub"
    names: Names
    woken: list[None]

    def create(self, key: str, url: str = URL, *event_types: str) -> Awaitable[pb.CreateWebhookEndpointResponse]:
        request = pb.CreateWebhookEndpointRequest(url=url, event_types=event_types)
        return self.webhooks.CreateWebhookEndpoint(request, metadata=headers(CALLER, key))

    async def list(self, endpoint_id: str, **request: Any) -> pb.ListDeliveriesResponse:
        asked = pb.ListDeliveriesRequest(endpoint_id=endpoint_id, **request)
        return await self.webhooks.ListDeliveries(asked, metadata=headers(CALLER))


@pytest.fixture
async def door(db: Database, sealer: Sealer, authority: Authority) -> AsyncIterator[Door]:
    names, woken = Names(), list[None]()
    once = Idempotency(db, keys, b"fingerprint")
    served = [
        WebhooksServicer(db, once, sealer, Guard(lookup=names)),
        EventsServicer(db, lambda: woken.append(None)),
    ]
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving(authority.issue("fulfillment_svc"), served))
        gateway, ledger = [
            await stack.enter_async_context(open_channel(address, "fulfillment_svc", authority.issue(peer)))
            for peer in ("gateway", "ledger_svc")
        ]
        yield Door(
            webhooks_pb2_grpc.WebhooksServiceStub(gateway),
            webhooks_pb2_grpc.EventsServiceStub(ledger),
            webhooks_pb2_grpc.EventsServiceStub(gateway),
            names,
            woken,
        )


async def _refusal(call: Awaitable[object]) -> Refused:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    assert status is not None
    return from_status(status)


async def test_an_endpoint_is_created_once_with_a_secret_that_is_stored_sealed(
    db: Database, sealer: Sealer, door: Door
) -> None:
    made = await door.create("k1", "https://PARTNER.example/hook", "points.earned")
    assert (made.url, list(made.event_types)) == (URL, ["points.earned"])
    assert await door.create("k1", "https://PARTNER.example/hook", "points.earned") == made
    async with db.read() as tx:
        (row,) = (await tx.execute(select(webhook_endpoints))).all()
    assert (str(row.endpoint_id), row.url, row.active) == (made.endpoint_id, URL, True)
    assert made.secret.encode() not in row.secret
    assert sealer.open(PROGRAM, row.endpoint_id, row.secret) == made.secret


async def test_the_same_key_with_another_request_is_refused(door: Door) -> None:
    await door.create("k1")
    assert (await _refusal(door.create("k1", URL + "2"))).reason == Reason.IDEMPOTENCY_KEY_REUSED


async def test_a_private_address_is_refused_and_binds_nothing(db: Database, door: Door) -> None:
    door.names.addresses = ("93.184.216.34", "10.0.0.1")
    refusal = await _refusal(door.create("k1"))
    assert refusal.reason == Reason.WEBHOOK_URL_REFUSED
    assert "10.0.0.1" not in refusal.message
    door.names.addresses = ("93.184.216.34",)
    made = await door.create("k1")
    # A replay is the first answer again, also when the name has moved inside since.
    door.names.addresses = ("127.0.0.1",)
    assert await door.create("k1") == made
    async with db.read() as tx:
        assert len((await tx.execute(select(webhook_endpoints))).all()) == 1


async def test_deliveries_are_listed_newest_first_in_pages(db: Database, sealer: Sealer, door: Door) -> None:
    endpoint = await register(db, sealer, URL)
    sent = [event() for _ in range(5)]
    await ingest(db, *sent)
    seen, token = list[list[str]](), ""
    while not seen or token:
        page = await door.list(str(endpoint.endpoint_id), page_size=2, page_token=token)
        seen.append([delivery.delivery_id for delivery in page.deliveries])
        token = page.next_page_token
    newest_first = [one.event_id for one in reversed(sent)]
    assert seen == [newest_first[:2], newest_first[2:4], newest_first[4:]]
    first = (await door.list(str(endpoint.endpoint_id))).deliveries[0]
    assert first == pb.Delivery(
        delivery_id=sent[-1].event_id,
        event_type="points.earned",
        status=pb.Delivery.PENDING,
        created_at=sent[-1].created_at,
    )


async def test_an_endpoint_that_is_not_ones_own_is_not_found(db: Database, sealer: Sealer, door: Door) -> None:
    await store_program(db, "other")
    foreign = await register(db, sealer, URL, program_id="other")
    await ingest(db, event(program_id="other"))
    refusals = [await _refusal(door.list(name)) for name in (str(foreign.endpoint_id), str(new_id()), "x", "")]
    assert {(refusal.reason, refusal.message) for refusal in refusals} == {
        (Reason.ENDPOINT_NOT_FOUND, "There is no such endpoint.")
    }


async def test_a_forged_page_token_is_refused(db: Database, sealer: Sealer, door: Door) -> None:
    endpoint_id = str((await register(db, sealer, URL)).endpoint_id)
    assert (await _refusal(door.list(endpoint_id, page_token="bm8="))).reason == Reason.INVALID_REQUEST


async def test_events_are_handed_over_once_and_wake_the_worker(db: Database, sealer: Sealer, door: Door) -> None:
    endpoint = await register(db, sealer, URL)
    request = pb.PublishEventsRequest(events=[event(), event("m_2")])
    for _ in range(2):
        await door.events.PublishEvents(request)
    assert len(door.woken) == 2
    listed = await door.list(str(endpoint.endpoint_id))
    assert [one.delivery_id for one in listed.deliveries] == [one.event_id for one in reversed(request.events)]


async def test_nobody_hands_over_events_from_outside(door: Door) -> None:
    request = pb.PublishEventsRequest(events=[event()])
    assert (await _refusal(door.events_from_outside.PublishEvents(request))).reason == Reason.PERMISSION_DENIED
    asked = door.events_from_outside.PublishEvents(request, metadata=headers(CALLER))
    assert (await _refusal(asked)).reason == Reason.PERMISSION_DENIED
    assert door.woken == []


async def test_a_program_that_is_unknown_here_does_not_hold_up_the_others(
    door: Door, db: Database, fresh_database: Callable[[str], Awaitable[Database]]
) -> None:
    outbox, theirs, now = Outbox(MetaData()), await fresh_database("ledger_svc"), datetime.now(UTC)
    unknown, known = [Draft(program, "points.earned", "m_1", now, {}) for program in ("sandbox-not-yet", PROGRAM)]
    await theirs.transact(lambda tx: outbox.append(tx, unknown, known))
    handed = [await outbox.relay(theirs, door.events) for _ in range(3)]
    assert handed == [1, 1, 0]
    async with db.read() as tx:
        assert (await tx.execute(select(events.c.program_id))).all() == [(PROGRAM,)]
    async with theirs.read() as tx:
        assert (await tx.execute(text("SELECT program_id FROM outbox"))).all() == [("sandbox-not-yet",)]
