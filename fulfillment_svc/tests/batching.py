"""Batches of orders under test, as their partner sees them."""

from collections.abc import Sequence
from typing import Any, Final

from rewards.fulfillment.v1 import order_batches_pb2 as pb
from rewards.fulfillment.v1.orders_pb2 import CreateOrderRequest

from fulfillment_svc.tests.harness import Harness
from fulfillment_svc.tests.ordering import Ordering, wanted
from svckit.testing import headers, partner

WRITES: Final = "orders:write", "orders:read"


class Batching(Ordering):
    """The batches of one tenant, and the orders that they become."""

    async def open(self, key: str = "open") -> str:
        """The id of a new batch."""
        request = pb.CreateOrderBatchRequest()
        response: pb.CreateOrderBatchResponse = await self.harness.batches.CreateOrderBatch(
            request, metadata=self.partner(key)
        )
        return response.batch.batch_id

    async def append(self, batch_id: str, items: Sequence[pb.OrderBatchItem], key: str) -> tuple[int, int]:
        """How many items were added, and how many were known."""
        request = pb.AppendToOrderBatchRequest(batch_id=batch_id, items=items)
        response: pb.AppendToOrderBatchResponse = await self.harness.batches.AppendToOrderBatch(
            request, metadata=self.partner(key)
        )
        return response.appended, response.known

    async def batch(self, batch_id: str, scopes: Sequence[str] = WRITES, **paging: Any) -> pb.GetOrderBatchResponse:
        """Reads a batch, by a credential with these scopes."""
        request = pb.GetOrderBatchRequest(batch_id=batch_id, **({"page_size": 500} | paging))
        metadata = headers(partner(self.tenant.program_id, *scopes))
        response: pb.GetOrderBatchResponse = await self.harness.batches.GetOrderBatch(request, metadata=metadata)
        return response


async def batching(harness: Harness, **funds: Any) -> Batching:
    """The batches of a new tenant."""
    return Batching(harness, await harness.tenant(**funds))


def item(key: str, **changes: Any) -> pb.OrderBatchItem:
    """An item of 25 dollars of the brand's cards, by link, unless changed."""
    return of(key, wanted(**changes))


def of(key: str, request: CreateOrderRequest) -> pb.OrderBatchItem:
    """An item that becomes what the request asks for."""
    made = pb.OrderBatchItem.FromString(request.SerializeToString())
    made.item_key = key
    return made
