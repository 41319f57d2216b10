"""Takes a redemption from step to step: the request's own path and the workers run the same code.

Between two steps everything is stored, in one transaction with what it makes true: the edge, the codes, the
answer kept under the caller's key, and the event. Nothing outside is called while that runs.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from google.rpc.status_pb2 import Status as RpcStatus
from opentelemetry import trace
from prometheus_client import Counter
from rewards.fulfillment.v1.webhooks_pb2 import Event

from fulfillment_svc.codes import Place, Vault
from fulfillment_svc.redemptions import failpoints, rules, store, wire
from fulfillment_svc.redemptions.rules import Answer, Redemption, Reply, Status, Step
from fulfillment_svc.redemptions.steps import Steps
from fulfillment_svc.tables import programs
from svckit import idempotency, telemetry
from svckit.clock import Clock
from svckit.db import Database, Tx
from svckit.errors import from_status
from svckit.idempotency import Claim, Idempotency

OPERATION: Final = "CreateRedemption"
# Longer than the slowest step, and for a request longer than any request may run.
LEASE_S: Final = 15.0
REQUEST_LEASE_S: Final = 8.0

Ingest = Callable[[Tx, Sequence[Event]], Awaitable[object]]

_parked: Final = Counter("redemptions_parked_total", "Redemptions that came to wait for a person.", ("reason",))

log = logging.getLogger(__name__)


class Saga:
    """Carries redemptions on. `ingest` takes events into the feed, in the transaction it is given."""

    def __init__(
        self, db: Database, steps: Steps, idempotent: Idempotency, vault: Vault, ingest: Ingest, clock: Clock
    ) -> None:
        self._db = db
        self._steps = steps
        self._idempotency = idempotent
        self._vault = vault
        self._ingest = ingest
        self._clock = clock

    async def decide(self, redemption: Redemption) -> Redemption:
        """Goes on until the caller can be answered, or as far as can be told now.

        A decided redemption is free for the workers. Raises LeaseLost if one has it already.
        """
        while not rules.decided(redemption):
            before, redemption = redemption, await self._advance(redemption, REQUEST_LEASE_S, rules.decided)
            if rules.waits(before, redemption):
                break
        return redemption

    async def work(self) -> int:
        """A worker's step: claims one redemption and takes it as far as can be told now; how many there were."""
        async with self._db.read() as tx:
            program_id = await store.program_with_due(tx)
        if program_id is None:
            return 0
        redemption = await self._db.transact(lambda tx: store.claim_due(tx, program_id, LEASE_S))
        if redemption is None:
            return 0
        parent = telemetry.propagator.extract({"traceparent": redemption.traceparent})
        with telemetry.span("redemption carried on", trace.SpanKind.INTERNAL, _attributes(redemption), parent):
            await self._carry_on(redemption)
        return 1

    async def _carry_on(self, redemption: Redemption) -> None:
        try:
            while redemption.state not in rules.TERMINAL:
                before, redemption = redemption, await self._advance(redemption, LEASE_S, lambda _: False)
                if rules.waits(before, redemption):
                    break
        except store.LeaseLost:
            log.info("lease lost", extra={"fields": _fields(redemption)})

    async def _advance(self, redemption: Redemption, lease_s: float, leave: Callable[[Redemption], bool]) -> Redemption:
        """Takes one step and stores its answer; free for others at once if the caller will `leave` it then."""
        step = rules.step(redemption, self._steps.conduct(redemption))
        if step is None:
            return redemption
        with telemetry.span(f"redemption {step}", trace.SpanKind.INTERNAL, _attributes(redemption)):
            failpoints.reach(f"{step}.before")
            if step is Step.ORDER:
                redemption = await self._announce(redemption, lease_s)
            reply = await self._steps.take(step, redemption)
            failpoints.reach(f"{step}.after")
            after = await self._settle(redemption, reply, lease_s, leave)
            failpoints.reach(f"{step}.stored")
        if after.status is Status.REVIEW and redemption.status is not Status.REVIEW:
            _parked.labels(after.reason).inc()
            log.warning("parked", extra={"fields": {**_fields(after), "reason": after.reason}})
        return after

    async def _announce(self, redemption: Redemption, lease_s: float) -> Redemption:
        """Stores that an order goes out, before it does: whoever finds this will ask first, never order."""
        sent = rules.settle(redemption, Reply(Answer.SENT))
        await self._db.transact(
            lambda tx: store.update_redemption(tx, redemption, sent, answer=Answer.SENT, reason="", due_in_s=lease_s)
        )
        failpoints.reach("order.sent")
        return sent

    async def _settle(
        self, before: Redemption, reply: Reply, lease_s: float, leave: Callable[[Redemption], bool]
    ) -> Redemption:
        after = rules.settle(before, reply)
        due_in_s = 0.0 if leave(after) else lease_s
        if rules.waits(before, after):
            due_in_s = rules.backoff_s(after.attempts, random.random())  # noqa: S311 - spreads load, guards nothing
        places = [Place(after.program_id, after.redemption_id, number) for number in range(1, len(reply.codes) + 1)]
        sealed = {
            place: self._vault.seal(code.encode(), place) for place, code in zip(places, reply.codes, strict=True)
        }

        async def work(tx: Tx) -> None:
            await store.update_redemption(
                tx, before, after, answer=reply.answer, reason=reply.reason, due_in_s=due_in_s
            )
            if sealed:
                await store.insert_secrets(tx, sealed)
                await store.show_codes(tx, after, reply.codes)
            if rules.decided(after) and not rules.decided(before):
                await self._answer(tx, after)
            elif after.state in rules.TERMINAL:
                program = await programs.get(tx, after.program_id)
                await self._ingest(tx, [wire.ended(after, program.now(self._clock))])

        await self._db.transact(work)
        return after

    async def _answer(self, tx: Tx, redemption: Redemption) -> None:
        """Keeps the outcome of the request under its key, for whoever asks with it again."""
        claim = Claim(redemption.program_id, OPERATION, redemption.idempotency_key, fingerprint=b"")
        if redemption.refusal is None:
            await self._idempotency.finish(tx, claim, idempotency.done(claim, wire.created(redemption)))
            return
        refusal = from_status(RpcStatus.FromString(redemption.refusal))
        if refusal.binds:
            await self._idempotency.finish(tx, claim, idempotency.refused(claim, refusal))
        else:
            await store.free_key(tx, claim)


def _fields(redemption: Redemption) -> dict[str, str]:
    return {"program_id": redemption.program_id, "redemption_id": str(redemption.redemption_id)}


def _attributes(redemption: Redemption) -> dict[str, str]:
    return {f"rewards.{name}": value for name, value in _fields(redemption).items()}
