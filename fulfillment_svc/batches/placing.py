"""Places the orders of committed batches: a worker claims a batch, takes its next items through the intake that single
calls have, and stores what became of them. Each item has a key of its own, so whatever a crash has left half done is
found again under it, and two workers at one item make one order."""

import asyncio
import logging
import random
from typing import Final

from opentelemetry import trace
from rewards.fulfillment.v1.orders_pb2 import CreateOrderRequest

from fulfillment_svc import leases_store
from fulfillment_svc.batches import rules, store, wire
from fulfillment_svc.batches.tables import batches
from fulfillment_svc.batches.values import Batch, Item, ItemState, State
from fulfillment_svc.codes import Vault
from fulfillment_svc.orders import assembly as orders
from fulfillment_svc.orders.saga import CREATE
from fulfillment_svc.redemptions import failpoints
from fulfillment_svc.redemptions.rules import backoff_s, definite
from fulfillment_svc.redemptions.saga import LEASE_S
from fulfillment_svc.redemptions.store import LeaseLost
from fulfillment_svc.tables import programs
from fulfillment_svc.webhooks.ingest_store import ingest
from svckit import telemetry
from svckit.clock import Clock
from svckit.db import Database, Tx
from svckit.errors import Refused
from svckit.idempotency import Idempotency, Outcome

# Of one batch. Most of the time they wait for the catalog and the ledger, and each needs a connection now and then.
AT_ONCE: Final = 8

log = logging.getLogger(__name__)


class Placing:
    """Places orders; they become those of the room `ordered`."""

    def __init__(self, db: Database, idempotent: Idempotency, vault: Vault, ordered: orders.Room, clock: Clock) -> None:
        self._db = db
        self._idempotency = idempotent
        self._vault = vault
        self._ordered = ordered
        self._clock = clock

    async def work(self) -> int:
        """A worker's step: claims one batch and tries AT_ONCE of its items; how many batches there were."""
        async with self._db.read() as tx:
            program_id = await leases_store.program_with_due(tx, batches)
        if program_id is None:
            return 0
        claimed = await self._db.transact(lambda tx: store.claim_due(tx, program_id, LEASE_S, AT_ONCE))
        if claimed is None:
            return 0
        batch, items = claimed
        failpoints.reach("batch.claimed")
        parent = telemetry.propagator.extract({"traceparent": batch.traceparent})
        with telemetry.span("batch carried on", trace.SpanKind.INTERNAL, _attributes(batch), parent):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._try(batch, item)) for item in items]
            try:
                await self._settle(batch, [task.result() for task in tasks])
            except LeaseLost:
                log.info("lease lost", extra={"fields": _fields(batch)})
        return 1

    async def _settle(self, batch: Batch, tried: list[Item]) -> None:
        chance = random.random()  # noqa: S311 - spreads load, guards nothing

        async def work(tx: Tx) -> None:
            program = await programs.get(tx, batch.program_id)
            after = rules.worked(batch, tried, program.now(self._clock))
            pause_s = backoff_s(after.attempts, chance) if after.attempts else 0.0
            await store.update_claimed(tx, after, tried, None if after.state is State.COMPLETED else pause_s)
            if after.state is State.COMPLETED:
                await ingest(tx, [wire.completed(after, program.now(self._clock))])

        await self._db.transact(work)
        failpoints.reach("batch.stored")
        for item in tried:
            if item.state is ItemState.SUCCEEDED:
                self._ordered.wake()

    async def _try(self, batch: Batch, item: Item) -> Item:
        """The item after a try. Whatever goes wrong in it stays its own: the item is tried again, and the key tells
        whether there is an order."""
        try:
            return await self._place(batch, item)
        except (Refused, LeaseLost):
            return wire.later(item)
        except Exception:
            log.exception("item not placed", extra={"fields": _fields(batch) | {"item": str(item.number)}})
            return wire.later(item)

    async def _place(self, batch: Batch, item: Item) -> Item:
        request = CreateOrderRequest.FromString(self._vault.open(item.sealed, store.place(batch, item.number)))
        claim = self._idempotency.claim_as(batch.program_id, CREATE, rules.key(batch, item), request)
        failpoints.reach("item.before")
        try:
            taken = await self._ordered.intake.take_in(claim, request)
        except Refused as refusal:
            # Nothing is stored yet; from here on an order is, and a refusal would not say what becomes of it.
            return wire.refused(item, refusal.status().SerializeToString()) if definite(refusal) else wire.later(item)
        if isinstance(taken, Outcome):
            after = wire.found(item, taken)
        else:
            after = wire.ordered(item, await self._ordered.saga.carry(taken))
        failpoints.reach("item.after")
        return after


def _fields(batch: Batch) -> dict[str, str]:
    return {"program_id": batch.program_id, "batch_id": str(batch.batch_id)}


def _attributes(batch: Batch) -> dict[str, str]:
    return {f"rewards.{name}": value for name, value in _fields(batch).items()}
