"""Protobuf to events and back."""

from collections.abc import Iterable
from datetime import UTC
from typing import Any
from uuid import UUID

from rewards.fulfillment.v1 import webhooks_pb2 as pb

from fulfillment_svc.webhooks.rules import Endpoint, Event, is_object
from svckit.errors import invalid


def event(message: pb.Event, *, live: bool) -> Event:
    """The event. Raises INVALID_REQUEST if its data is no JSON object."""
    if not is_object(message.data_json):
        raise invalid(dataJson="must be a JSON object")
    return Event(
        event_id=UUID(message.event_id),
        type=message.type,
        created_at=message.created_at.ToDatetime(tzinfo=UTC),
        program_id=message.program_id,
        live=live,
        member_id=message.member_id,
        data_json=message.data_json,
    )


def created(endpoint: Endpoint, secret: str) -> pb.CreateWebhookEndpointResponse:
    """A new endpoint with its secret, which is shown in this answer only."""
    return pb.CreateWebhookEndpointResponse(
        endpoint_id=str(endpoint.endpoint_id), url=endpoint.url, event_types=endpoint.event_types, secret=secret
    )


def deliveries(rows: Iterable[Any]) -> list[pb.Delivery]:
    """Deliveries as `store.page` has them."""
    return [_delivery(row) for row in rows]


def _delivery(row: Any) -> pb.Delivery:
    shown = pb.Delivery(
        delivery_id=str(row.event_id),
        event_type=row.type,
        status=pb.Delivery.Status.Value(row.status),
        attempts=row.attempts,
        last_http_status=row.last_http_status,
    )
    shown.created_at.FromDatetime(row.created_at)
    return shown
