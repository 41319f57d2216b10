"""The RPCs of webhooks: partners register endpoints and look at deliveries, services hand over events."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from rewards.fulfillment.v1 import webhooks_pb2 as pb
from rewards.fulfillment.v1.webhooks_pb2_grpc import EventsServiceServicer, WebhooksServiceServicer

from fulfillment_svc.tables import programs
from fulfillment_svc.webhooks import ingest_store, store, wire
from fulfillment_svc.webhooks.rules import Endpoint
from fulfillment_svc.webhooks.sealer import Sealer, new_secret
from fulfillment_svc.webhooks.ssrf import Guard, Target
from svckit import call, paging
from svckit.clock import new_id
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused, invalid
from svckit.idempotency import Idempotency


class WebhooksServicer(WebhooksServiceServicer):
    """Partners' endpoints and what became of their deliveries."""

    def __init__(self, db: Database, keys: Idempotency, sealer: Sealer, guard: Guard) -> None:
        self._db = db
        self._keys = keys
        self._sealer = sealer
        self._guard = guard

    async def CreateWebhookEndpoint(
        self, request: pb.CreateWebhookEndpointRequest, context: Any
    ) -> pb.CreateWebhookEndpointResponse:
        """Registers an endpoint where the guard admits its URL."""
        program_id = call.current().program_id
        admitted = await self._admitted(program_id, request.url)

        async def work(tx: Tx) -> pb.CreateWebhookEndpointResponse:
            # Here and not above: a replay gets the first answer, wherever the URL leads by now.
            if isinstance(admitted, Refused):
                raise admitted
            endpoint_id, secret = new_id(), new_secret()
            sealed = self._sealer.seal(program_id, endpoint_id, secret)
            endpoint = Endpoint(program_id, endpoint_id, admitted.place.url, tuple(request.event_types), sealed)
            await store.create_endpoint(tx, endpoint)
            return wire.created(endpoint, secret)

        return await self._keys.once(request, pb.CreateWebhookEndpointResponse, work)

    async def ListDeliveries(self, request: pb.ListDeliveriesRequest, context: Any) -> pb.ListDeliveriesResponse:
        """A page of an endpoint's deliveries, newest first."""
        program_id, size = call.current().program_id, paging.size(request.page_size)
        endpoint_id, before = _uuid(request.endpoint_id), _before(request)
        async with self._db.read() as tx:
            if endpoint_id is None or not await store.endpoint_exists(tx, program_id, endpoint_id):
                raise Refused(Reason.ENDPOINT_NOT_FOUND, "There is no such endpoint.")
            rows = await store.page(tx, program_id, endpoint_id, before, size + 1)
        more = paging.token(request, str(rows[size - 1].event_id)) if len(rows) > size else ""
        return pb.ListDeliveriesResponse(deliveries=wire.deliveries(rows[:size]), next_page_token=more)

    async def _admitted(self, program_id: str, url: str) -> Target | Refused:
        async with self._db.read() as tx:
            program = await programs.get(tx, program_id)
        try:
            return await self._guard.admit(url, sandbox=program.sandbox)
        except Refused as refusal:
            return refusal


class EventsServicer(EventsServiceServicer):
    """Takes the other services' events in. `wake` says that there may be deliveries to make."""

    def __init__(self, db: Database, wake: Callable[[], None]) -> None:
        self._db = db
        self._wake = wake

    async def PublishEvents(self, request: pb.PublishEventsRequest, context: Any) -> pb.PublishEventsResponse:
        """Takes events in, each once; idempotent."""
        await self._db.transact(lambda tx: ingest_store.ingest(tx, request.events))
        self._wake()
        return pb.PublishEventsResponse()


def _before(request: pb.ListDeliveriesRequest) -> UUID | None:
    place = paging.place(request, 1)
    if place is None:
        return None
    before = _uuid(place[0])
    if before is None:
        raise invalid(pageToken="is not a token of this list")
    return before


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
