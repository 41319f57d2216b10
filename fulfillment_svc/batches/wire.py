"""Batches between values and protobuf."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from google.rpc.status_pb2 import Status as RpcStatus
from rewards.fulfillment.v1 import order_batches_pb2 as pb
from rewards.fulfillment.v1.orders_pb2 import CreateOrderRequest, CreateOrderResponse
from rewards.fulfillment.v1.webhooks_pb2 import Event

from fulfillment_svc.batches.values import ITEMS_MAX, Batch, Findings, Item, ItemState, Shortage
from fulfillment_svc.orders import rules
from fulfillment_svc.orders.values import Order
from fulfillment_svc.redemptions.wire import timestamp
from svckit import idempotency, money, paging
from svckit.clock import new_id
from svckit.errors import Reason, Refused, from_status, invalid
from svckit.idempotency import Outcome

# As the proto has it.
_FINDINGS_MAX: Final = 500


def request(item: pb.OrderBatchItem) -> CreateOrderRequest:
    """An item as CreateOrder takes it. Its fields have the numbers that they have there."""
    bare = pb.OrderBatchItem()
    bare.CopyFrom(item)
    bare.ClearField("item_key")
    return CreateOrderRequest.FromString(bare.SerializeToString())


def batch(one: Batch) -> pb.OrderBatch:
    """A batch as partners see it."""
    return pb.OrderBatch(
        batch_id=str(one.batch_id),
        status=pb.OrderBatch.Status.Value(one.state),
        total=one.size,
        pending=one.size - one.succeeded - one.failed,
        succeeded=one.succeeded,
        failed=one.failed,
        created_at=timestamp(one.created_at),
        committed_at=None if one.committed_at is None else timestamp(one.committed_at),
        completed_at=None if one.completed_at is None else timestamp(one.completed_at),
    )


def result(item: Item, link: str) -> pb.OrderBatchResult:
    """What became of an item; `link` is where its recipient chooses."""
    return pb.OrderBatchResult(
        index=item.number - 1,
        item_key=item.key,
        status=pb.OrderBatchResult.Status.Value(item.state),
        order_id="" if item.order_id is None else str(item.order_id),
        redemption_url=link,
        refusal=None if item.refusal is None else refusal(item.refusal),
    )


def ordered(item: Item, order: Order) -> Item:
    """The item whose order was just taken in."""
    if order.refusal is not None:
        return refused(item, order.refusal)
    return _succeeded(item, order.order_id) if rules.decided(order) else later(item)


def found(item: Item, outcome: Outcome) -> Item:
    """The item for whose key there is an outcome already."""
    if outcome.state is idempotency.State.REFUSED:
        return refused(item, outcome.body)
    if outcome.state is idempotency.State.IN_PROGRESS:
        return later(item)
    return _succeeded(item, UUID(CreateOrderResponse.FromString(outcome.body).order.order_id))


def refused(item: Item, status: bytes) -> Item:
    """The item that is refused with a `google.rpc.Status`."""
    return replace(item, state=ItemState.FAILED, reason=refusal(status).reason, refusal=status)


def later(item: Item) -> Item:
    """The item that is not decided: its turn comes again after those that were tried less."""
    return replace(item, attempts=item.attempts + 1)


def _succeeded(item: Item, order_id: UUID) -> Item:
    return replace(item, state=ItemState.SUCCEEDED, order_id=order_id)


def completed(one: Batch, at: datetime) -> Event:
    """The event that every item of a batch is decided. It carries no personal data (G53)."""
    data = {"batchId": str(one.batch_id), "total": one.size, "succeeded": one.succeeded, "failed": one.failed}
    return Event(
        event_id=str(new_id()),
        program_id=one.program_id,
        type="batch.completed",
        created_at=timestamp(at),
        data_json=json.dumps(data, separators=(",", ":")),
    )


def refusal(status: bytes) -> pb.OrderBatchRefusal:
    """A `google.rpc.Status` as the envelope tells it."""
    return _told(from_status(RpcStatus.FromString(status)))


def _told(told: Refused) -> pb.OrderBatchRefusal:
    return pb.OrderBatchRefusal(error_code=told.reason, reason=Reason.Name(told.reason), message=told.message)


def findings(found: Findings) -> pb.CheckOrderBatchResponse:
    """What a check has found."""
    return pb.CheckOrderBatchResponse(
        checked=found.checked,
        refused=len(found.refused),
        findings=[
            pb.OrderBatchFinding(index=item.number - 1, item_key=item.key, refusal=_told(refused))
            for item, refused in found.refused[:_FINDINGS_MAX]
        ],
        funding=map(_funding, found.funding),
    )


def _funding(one: Shortage) -> pb.OrderBatchFunding:
    return pb.OrderBatchFunding(
        currency=one.currency,
        needed=money.major(one.needed_minor, one.currency),
        fees=money.major(one.fees_minor, one.currency),
        available=money.major(one.available_minor, one.currency),
        short_by=money.major(one.short_by_minor, one.currency),
        short_at_index=None if one.at is None else one.at.number - 1,
        short_at_item_key="" if one.at is None else one.at.key,
    )


def after(request: pb.GetOrderBatchRequest) -> int:
    """The number of the last item before the page. Raises INVALID_REQUEST for a token that somebody else made."""
    place = paging.place(request, 1)
    if place is None:
        return 0
    if not place[0].isdecimal() or int(place[0]) > ITEMS_MAX:
        raise invalid(pageToken="is not a token of this list")
    return int(place[0])
