"""Batches between values and protobuf."""

from google.rpc.status_pb2 import Status as RpcStatus
from rewards.fulfillment.v1 import order_batches_pb2 as pb
from rewards.fulfillment.v1.orders_pb2 import CreateOrderRequest

from fulfillment_svc.batches.values import Batch, Item
from fulfillment_svc.orders.wire import timestamp
from svckit import paging
from svckit.errors import Reason, from_status, invalid


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


def refusal(status: bytes) -> pb.OrderBatchRefusal:
    """A `google.rpc.Status` as the envelope tells it."""
    told = from_status(RpcStatus.FromString(status))
    return pb.OrderBatchRefusal(error_code=told.reason, reason=Reason.Name(told.reason), message=told.message)


def after(request: pb.GetOrderBatchRequest) -> int:
    """The number of the last item before the page. Raises INVALID_REQUEST for a token that somebody else made."""
    place = paging.place(request, 1)
    if place is None:
        return 0
    if not place[0].isdecimal():
        raise invalid(pageToken="is not a token of this list")
    return int(place[0])
