"""Takes orders from step to step: the request's own path and the workers run the same code. Between two steps
everything is stored, in one transaction with what it makes true."""

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from opentelemetry import trace
from prometheus_client import Counter
from rewards.fulfillment.v1.orders_pb2 import CreateOrderResponse

from fulfillment_svc import leases_store
from fulfillment_svc.orders import rules, store, wire
from fulfillment_svc.orders.parts import Parts
from fulfillment_svc.orders.states import CLOSING, State
from fulfillment_svc.orders.steps import Steps
from fulfillment_svc.orders.tables import orders
from fulfillment_svc.orders.values import Order
from fulfillment_svc.redemptions import failpoints
from fulfillment_svc.redemptions.rules import backoff_s
from fulfillment_svc.redemptions.saga import LEASE_S, REQUEST_LEASE_S
from fulfillment_svc.redemptions.store import LeaseLost
from fulfillment_svc.redemptions.values import Reply
from fulfillment_svc.requests import keep_decision, refusal
from fulfillment_svc.tables import programs
from fulfillment_svc.webhooks.ingest_store import ingest
from svckit import telemetry
from svckit.clock import Clock
from svckit.db import Database, Tx
from svckit.idempotency import Claim, Idempotency

CREATE: Final = "CreateOrder"
_EXPIRE_AT_ONCE: Final = 100
_TOLD: Final = {State.EXPIRED: "expired", State.CANCELLED: "cancelled", State.FAILED: "failed"}

_parked: Final = Counter("orders_parked_total", "Orders that came to wait for a person.", ("reason",))

log = logging.getLogger(__name__)


class Saga:
    """Carries orders on. `wake_claims` tells the workers of claims that one waits for them."""

    def __init__(
        self,
        db: Database,
        steps: Steps,
        idempotent: Idempotency,
        parts: Parts,
        clock: Clock,
        wake_claims: Callable[[], None],
    ) -> None:
        self._db = db
        self._steps = steps
        self._idempotency = idempotent
        self._starting, self._invitations = parts.starting, parts.invitations
        self._clock = clock
        self._wake_claims = wake_claims

    async def carry(self, order: Order) -> Order:
        """Goes on with a request's order until its caller can be answered, or as far as can be told now. It is free for
        the workers then. Raises LeaseLost if one has it already."""
        return order if rules.decided(order) else await self._advance(order, REQUEST_LEASE_S, leave=True)

    async def work(self) -> int:
        """A worker's step: claims one order and takes it as far as can be told now; how many there were."""
        async with self._db.read() as tx:
            program_id = await leases_store.program_with_due(tx, orders)
        if program_id is None:
            return 0
        order = await self._db.transact(lambda tx: store.claim_due(tx, program_id, LEASE_S))
        if order is None:
            return 0
        parent = telemetry.propagator.extract({"traceparent": order.traceparent})
        with telemetry.span("order carried on", trace.SpanKind.INTERNAL, _attributes(order), parent):
            await self._carry_on(order)
        return 1

    async def expire(self) -> int:
        """A worker's step: closes what has run out in any program's time; how many there were."""
        async with self._db.read() as tx:
            known = [await programs.get(tx, program_id) for program_id in await programs.ids(tx)]
        closed = 0
        for program in known:
            at = program.now(self._clock)
            over = partial(store.expire, program_id=program.program_id, now=at, size=_EXPIRE_AT_ONCE)
            closed += await self._db.transact(over)
        return closed

    async def _carry_on(self, order: Order) -> None:
        try:
            while rules.step(order) is not None:
                before, order = order, await self._advance(order, LEASE_S, leave=False)
                if order.state is before.state:
                    break
        except LeaseLost:
            log.info("lease lost", extra={"fields": _fields(order)})

    async def _advance(self, order: Order, lease_s: float, *, leave: bool) -> Order:
        """Takes one step and stores its answer; free for others at once if the caller will `leave` it then."""
        step = rules.step(order)
        if step is None:
            return order
        with telemetry.span(f"order {step}", trace.SpanKind.INTERNAL, _attributes(order)):
            failpoints.reach(f"{step}.before")
            reply = await self._steps.take(step, order)
            failpoints.reach(f"{step}.after")
            then_s = 0.0 if leave else lease_s
            after = await self._db.transact(lambda tx: self.store(tx, order, reply, then_s))
            failpoints.reach(f"{step}.stored")
        if after.parked and not order.parked:
            _parked.labels(reply.reason).inc()
            log.warning("parked", extra={"fields": {**_fields(after), "reason": reply.reason}})
        if after.state is State.OPEN and after.direct:
            self._wake_claims()
        return after

    async def store(self, tx: Tx, before: Order, reply: Reply, then_s: float) -> Order:
        """Stores a reply with everything that it makes true; what it made of the order, which is due again in `then_s`
        if it has another step. Raises LeaseLost."""
        if before.state in CLOSING:
            before = await self._with_its_claims(tx, before)
        after = rules.settle(before, reply)
        await store.update_order(tx, before, after, reply, _due_in_s(before, after, then_s))
        if rules.decided(after) and not rules.decided(before):
            await self._answer(tx, after)
            if after.direct and after.state is State.OPEN:
                await self._start(tx, after)
        elif after.state in _TOLD and after.state is not before.state:
            program = await programs.get(tx, after.program_id)
            await ingest(tx, [wire.event(after, _TOLD[after.state], program.now(self._clock))])
        return after

    @staticmethod
    async def _with_its_claims(tx: Tx, order: Order) -> Order:
        """The order with what its claims have made of it since it was claimed for this step."""
        last = await store.lock(tx, order.program_id, order.order_id)
        return order if last is None else replace(last, fencing_token=order.fencing_token)

    async def _start(self, tx: Tx, order: Order) -> None:
        """Claims the one reward of an order for its recipient."""
        assert order.choice is not None  # noqa: S101 - what is direct names its reward
        program = await programs.get(tx, order.program_id)
        invitation = await self._invitations.of(tx, order)
        told = {"country": invitation.country, "key": "", "traceparent": order.traceparent}
        claim = self._starting.claim(order, order.choice, program, **told)
        await self._starting.begin(tx, claim, invitation.recipient, lease_s=0.0)

    async def _answer(self, tx: Tx, order: Order) -> None:
        """Keeps the outcome of the request under its key, for whoever asks with it again."""
        claim = Claim(order.program_id, CREATE, order.idempotency_key, fingerprint=b"")
        answer = refusal(order.refusal) or CreateOrderResponse(order=wire.order(order, []))
        await keep_decision(tx, self._idempotency, claim, answer)


def _due_in_s(before: Order, after: Order, then_s: float) -> float | None:
    if rules.step(after) is None:
        return None
    waits = after.state is before.state
    return backoff_s(after.attempts, random.random()) if waits else then_s  # noqa: S311 - spreads load, guards nothing


def _fields(order: Order) -> dict[str, str]:
    return {"program_id": order.program_id, "order_id": str(order.order_id)}


def _attributes(order: Order) -> dict[str, str]:
    return {f"rewards.{name}": value for name, value in _fields(order).items()}
