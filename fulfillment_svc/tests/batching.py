"""Batches of orders under test, as their partner sees them."""

from collections.abc import Sequence
from typing import Any, Final

from rewards.fulfillment.v1 import order_batches_pb2 as pb
from rewards.fulfillment.v1.orders_pb2 import CreateOrderRequest

from fulfillment_svc.batches import assembly as batches
from fulfillment_svc.orders import assembly as orders
from fulfillment_svc.redemptions.failpoints import Killed
from fulfillment_svc.tests.harness import Harness
from fulfillment_svc.tests.ordering import Ordering, wanted
from svckit.clock import new_id
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

    async def check_up(self, batch_id: str) -> pb.CheckOrderBatchResponse:
        """What a commit would come to."""
        request = pb.CheckOrderBatchRequest(batch_id=batch_id)
        response: pb.CheckOrderBatchResponse = await self.harness.batches.CheckOrderBatch(
            request, metadata=self.partner()
        )
        return response

    async def commit(self, batch_id: str, key: str = "commit") -> pb.OrderBatch:
        """Hands the items to the workers, of which none runs here."""
        request = pb.CommitOrderBatchRequest(batch_id=batch_id)
        response: pb.CommitOrderBatchResponse = await self.harness.batches.CommitOrderBatch(
            request, metadata=self.partner(key)
        )
        return response.batch

    async def filled(self, *items: pb.OrderBatchItem) -> str:
        """The id of a new batch with these items."""
        batch_id = await self.open(str(new_id()))
        for start in range(0, len(items), 500):
            await self.append(batch_id, items[start : start + 500], str(new_id()))
        return batch_id

    async def room(self) -> tuple[orders.Room, batches.Room]:
        """The rooms as another process would have them."""
        ordered = await self.harness.assemble_orders(await self.harness.assemble())
        return ordered, await self.harness.assemble_batches(ordered)

    async def complete(self, batch_id: str, rounds: int = 100) -> pb.GetOrderBatchResponse:
        """The batch once every item is decided. A failpoint that strikes is a crash, and another worker goes on."""
        ordered, batched = await self.room()
        for _ in range(rounds):
            await self.harness.execute("UPDATE orders SET due_at = now() WHERE due_at IS NOT NULL")
            await self.harness.execute("UPDATE order_batches SET due_at = now() WHERE due_at IS NOT NULL")
            try:
                if not await batched.placing.work():
                    return await self.batch(batch_id)
                await ordered.saga.work()
            except Killed:
                ordered, batched = await self.room()
        raise AssertionError(await self.harness.execute("SELECT state, size, succeeded, failed FROM order_batches"))

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
