"""A batch of orders, from its commit until each item is decided."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from rewards.fulfillment.v1 import order_batches_pb2 as pb
from rewards.fulfillment.v1.order_batches_pb2_grpc import OrderBatchesServiceStub

from bench import orders
from bench.figures import Figure, absolute
from bench.ledger import Bench
from svckit.clients import open_channel
from svckit.clock import new_id
from svckit.testing import headers, partner

if TYPE_CHECKING:
    from rewards.fulfillment.v1.order_batches_pb2_grpc import OrderBatchesServiceAsyncStub

ITEMS = 5_000
NAME = f"batch_of_{ITEMS}_s"
ITEMS_A_CALL = 500
PARTNER = partner(orders.PROGRAM, "orders:read", "orders:write")


async def measure(bench: Bench) -> list[Figure]:
    """How long a batch of ITEMS orders by link takes. Raises RuntimeError if one was refused."""
    await orders.fill(bench)
    async with open_channel(bench.fulfillment, orders.SERVER, bench.authority.issue("gateway")) as channel:
        took_s = await _ordered_s(OrderBatchesServiceStub(channel))
    return [absolute(NAME, "s", [took_s])]


LONG: dict[str, Callable[[Bench], Awaitable[list[Figure]]]] = {NAME: measure}


async def _ordered_s(batches: "OrderBatchesServiceAsyncStub") -> float:
    opened = await batches.CreateOrderBatch(pb.CreateOrderBatchRequest(), metadata=_keyed())
    batch_id = opened.batch.batch_id
    for start in range(0, ITEMS, ITEMS_A_CALL):
        items = [_item(number) for number in range(start, start + ITEMS_A_CALL)]
        appended = pb.AppendToOrderBatchRequest(batch_id=batch_id, items=items)
        await batches.AppendToOrderBatch(appended, metadata=_keyed())
    began_s = time.monotonic()
    await batches.CommitOrderBatch(pb.CommitOrderBatchRequest(batch_id=batch_id), metadata=_keyed())
    asked = pb.GetOrderBatchRequest(batch_id=batch_id, page_size=1)
    batch = pb.OrderBatch()
    while batch.status != pb.OrderBatch.COMPLETED:
        await asyncio.sleep(0.1)
        batch = (await batches.GetOrderBatch(asked, metadata=_keyed())).batch
    if batch.succeeded != ITEMS:
        raise RuntimeError("an item of the batch was refused")
    return time.monotonic() - began_s


def _item(number: int) -> pb.OrderBatchItem:
    return pb.OrderBatchItem(
        item_key=f"{number}", reward_id=orders.REWARD.reward_id, denomination=orders.REWARD.denominations[0]
    )


def _keyed() -> tuple[tuple[str, str], ...]:
    return headers(PARTNER, new_id().hex)
