"""The partners' RPCs of batches."""

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

from rewards.fulfillment.v1 import order_batches_pb2 as pb
from rewards.fulfillment.v1.order_batches_pb2_grpc import OrderBatchesServiceServicer

from fulfillment_svc.batches import rules, store, wire
from fulfillment_svc.batches.preflight import Preflight
from fulfillment_svc.batches.values import Batch, State, Wanted
from fulfillment_svc.codes import Vault
from fulfillment_svc.orders.invitations import Invitations
from fulfillment_svc.orders.saga import CREATE
from fulfillment_svc.orders.store import snapshot
from fulfillment_svc.redemptions.wire import redemption_id as id_of
from fulfillment_svc.requests import traceparent
from fulfillment_svc.tables import programs
from svckit import call, paging
from svckit.clock import Clock, new_id
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused
from svckit.idempotency import Idempotency


class Desks(NamedTuple):
    """Who does what a call asks for. Items are sealed by `vault`, as they say who gets what."""

    vault: Vault
    invitations: Invitations
    preflight: Preflight


class OrderBatchesServicer(OrderBatchesServiceServicer):
    """Takes batches in and shows them. `wake` tells the workers that one waits for them."""

    def __init__(
        self, db: Database, idempotent: Idempotency, desks: Desks, wake: Callable[[], None], clock: Clock
    ) -> None:
        self._db = db
        self._idempotency = idempotent
        self._vault, self._invitations, self._preflight = desks
        self._wake = wake
        self._clock = clock

    async def CreateOrderBatch(self, request: pb.CreateOrderBatchRequest, context: Any) -> pb.CreateOrderBatchResponse:
        """Opens a batch."""

        async def work(tx: Tx) -> pb.CreateOrderBatchResponse:
            program = await programs.get(tx, call.current().program_id)
            new = Batch(program.program_id, new_id(), program.now(self._clock))
            await store.insert_batch(tx, new)
            return pb.CreateOrderBatchResponse(batch=wire.batch(new))

        return await self._idempotency.once(request, pb.CreateOrderBatchResponse, work)

    async def AppendToOrderBatch(
        self, request: pb.AppendToOrderBatchRequest, context: Any
    ) -> pb.AppendToOrderBatchResponse:
        """Adds items under the batch's lock, so of two calls with the same item one adds it."""
        program_id, batch_id = call.current().program_id, _id(request.batch_id)
        sent = [self._wanted(program_id, item) for item in request.items]

        async def work(tx: Tx) -> pb.AppendToOrderBatchResponse:
            batch = _there(await store.lock(tx, program_id, batch_id))
            known = await store.fingerprints(tx, batch, {item.key for item in sent})
            new = rules.appended(batch, known, sent)
            after = await store.append(tx, batch, new, self._vault)
            known_already = len(sent) - len(new)
            return pb.AppendToOrderBatchResponse(batch=wire.batch(after), appended=len(new), known=known_already)

        return await self._idempotency.once(request, pb.AppendToOrderBatchResponse, work)

    async def CheckOrderBatch(self, request: pb.CheckOrderBatchRequest, context: Any) -> pb.CheckOrderBatchResponse:
        """Tells what a commit would come to."""
        async with self._db.read() as tx:
            batch = _there(await store.find(tx, call.current().program_id, _id(request.batch_id)))
        return wire.findings(await self._preflight.check(batch))

    async def CommitOrderBatch(self, request: pb.CommitOrderBatchRequest, context: Any) -> pb.CommitOrderBatchResponse:
        """Hands the items to the workers; again those for which the money did not last."""
        program_id, batch_id = call.current().program_id, _id(request.batch_id)

        async def work(tx: Tx) -> pb.CommitOrderBatchResponse:
            program = await programs.get(tx, program_id)
            batch = _there(await store.lock(tx, program_id, batch_id))
            completed = batch.state is State.COMPLETED
            again = await store.take_up_again(tx, batch) if completed else 0
            after = rules.committed(batch, again, traceparent(), program.now(self._clock))
            if after is not batch:
                await store.change(tx, after)
            return pb.CommitOrderBatchResponse(batch=wire.batch(after))

        answer = await self._idempotency.once(request, pb.CommitOrderBatchResponse, work)
        self._wake()
        return answer

    async def GetOrderBatch(self, request: pb.GetOrderBatchRequest, context: Any) -> pb.GetOrderBatchResponse:
        """Reads a batch and a page of its items, as of one instant."""
        caller, size, after = call.current(), paging.size(request.page_size), wire.after(request)
        async with self._db.read() as tx:
            await snapshot(tx)
            batch = _there(await store.find(tx, caller.program_id, _id(request.batch_id)))
            items = await store.page(tx, batch, after, size)
            links: dict[UUID, str] = {}
            if "orders:write" in caller.principal.scopes:
                program = await programs.get(tx, batch.program_id)
                ordered = [item.order_id for item in items if item.order_id is not None]
                links = await self._invitations.links(tx, batch.program_id, ordered, program.now(self._clock))
        return pb.GetOrderBatchResponse(
            batch=wire.batch(batch),
            results=[wire.result(item, links.get(item.order_id, "") if item.order_id else "") for item in items],
            next_page_token=paging.token(request, str(items[-1].number)) if after + size < batch.size else "",
        )

    def _wanted(self, program_id: str, item: pb.OrderBatchItem) -> Wanted:
        request = wire.request(item)
        claim = self._idempotency.claim_as(program_id, CREATE, item.item_key, request)
        return Wanted(item.item_key, claim.fingerprint, request.SerializeToString())


def _id(sent: str) -> UUID:
    found = id_of(sent)
    if found is None:
        raise _not_found()
    return found


def _there(found: Batch | None) -> Batch:
    if found is None:
        raise _not_found()
    return found


def _not_found() -> Refused:
    return Refused(Reason.ORDER_NOT_FOUND, "There is no such batch.")
