"""Takes a redemption from step to step: the request's own path and the workers run the same code.

Between two steps everything is stored, in one transaction with what it makes true: the edge, the codes, the
answer kept under the caller's key, and the event. Nothing outside is called while that runs.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from opentelemetry import trace
from prometheus_client import Counter
from rewards.fulfillment.v1.webhooks_pb2 import Event

from fulfillment_svc import leases_store
from fulfillment_svc.codes import Place, Sealed, Vault
from fulfillment_svc.compliance import store as compliance
from fulfillment_svc.redemptions import failpoints, rules, secrets_store, store, wire
from fulfillment_svc.redemptions.states import Answer, State, Step
from fulfillment_svc.redemptions.steps import Steps
from fulfillment_svc.redemptions.store import Then
from fulfillment_svc.redemptions.tables import redemptions
from fulfillment_svc.redemptions.values import Redemption, Reply
from fulfillment_svc.requests import keep_decision, refusal
from fulfillment_svc.tables import programs
from svckit import idempotency, telemetry
from svckit.clock import Clock
from svckit.db import Database, Tx
from svckit.idempotency import Claim, Idempotency

CREATE: Final = "CreateRedemption"
CANCEL: Final = "CancelRedemption"
CLAIM: Final = "CreateClaim"
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

    async def carry(self, redemption: Redemption, until: Callable[[Redemption], bool]) -> Redemption:
        """Goes on with a request's redemption until that holds, or as far as can be told now.

        The redemption is free for the workers then. Raises LeaseLost if one has it already.
        """
        ours = not until(redemption)
        while ours:
            redemption, ours = await self._advance(redemption, REQUEST_LEASE_S, until)
        return redemption

    async def ask(self, redemption: Redemption) -> Reply:
        """What the provider says of an order now; nothing is stored."""
        return await self._steps.take(Step.QUERY, redemption)

    async def work(self) -> int:
        """A worker's step: claims one redemption and takes it as far as can be told now; how many there were."""
        async with self._db.read() as tx:
            program_id = await leases_store.program_with_due(tx, redemptions)
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
        ours = True
        try:
            while ours:
                redemption, ours = await self._advance(redemption, LEASE_S, rules.ended)
        except store.LeaseLost:
            log.info("lease lost", extra={"fields": _fields(redemption)})

    async def _advance(
        self, redemption: Redemption, lease_s: float, leave: Callable[[Redemption], bool]
    ) -> tuple[Redemption, bool]:
        """Takes one step and stores its answer; gives the redemption, and whether it is still the caller's to go on
        with. It is free for others at once if the caller will `leave` it then."""
        step = rules.step(redemption, self._steps.conduct(redemption))
        with telemetry.span(f"redemption {step}", trace.SpanKind.INTERNAL, _attributes(redemption)):
            failpoints.reach(f"{step}.before")
            if step is Step.ORDER:
                redemption = await self._announce(redemption, lease_s)
            reply = await self._steps.take(step, redemption)
            failpoints.reach(f"{step}.after")
            after, ours = await self._settle(redemption, reply, lease_s, leave)
            failpoints.reach(f"{step}.stored")
        if after.parked and not redemption.parked:
            _parked.labels(reply.reason).inc()
            log.warning("parked", extra={"fields": {**_fields(after), "reason": reply.reason}})
        return after, ours

    async def _announce(self, redemption: Redemption, lease_s: float) -> Redemption:
        """Stores that an order goes out, before it does: whoever finds this will ask first, never order."""
        announced = Reply(Answer.SENT)
        sent, then = rules.settle(redemption, announced), Then(lease_s, leased=True)
        await self._db.transact(lambda tx: store.update_redemption(tx, redemption, sent, announced, then))
        failpoints.reach("order.sent")
        return sent

    async def _settle(
        self, before: Redemption, reply: Reply, lease_s: float, leave: Callable[[Redemption], bool]
    ) -> tuple[Redemption, bool]:
        after = rules.settle(before, reply)
        chance = random.random()  # noqa: S311 - spreads load, guards nothing
        if rules.ended(after):
            then = Then(rules.look_again_s(before, after, reply.answer, chance), leased=False)
        elif rules.waits(before, after):
            then = Then(rules.backoff_s(after.attempts, chance), leased=False)
        else:
            then = Then(0.0, leased=False) if leave(after) else Then(lease_s, leased=True)
        await self._db.transact(lambda tx: self.store(tx, before, after, reply, then))
        return after, then.leased

    async def store(self, tx: Tx, before: Redemption, after: Redemption, reply: Reply, then: Then) -> None:
        """Stores a reply with everything that it makes true. Raises LeaseLost."""
        await store.update_redemption(tx, before, after, reply, then)
        if after.units != before.units:
            await secrets_store.insert_secrets(tx, self._sealed(after, reply))
        ends = rules.ended(after) and not rules.ended(before)
        if ends and after.issued_minor < after.choice.value_minor:
            await compliance.count(tx, after.program_id, after.redemption_id, after.issued_minor)
        answered = rules.decided(after) and not rules.decided(before)
        if answered:
            await self._answer(tx, after)
        if after.order_id is not None:
            if told := await self._steps.purse.settle(tx, before, after, reply):
                await self._ingest(tx, told)
        elif ends and not answered:
            program = await programs.get(tx, after.program_id)
            await self._ingest(tx, [wire.ended(after, program.now(self._clock))])
            if after.state is State.CANCELLED:
                cancelling = Claim(after.program_id, CANCEL, after.cancel_key or "", fingerprint=b"")
                await self._idempotency.finish(tx, cancelling, idempotency.done(cancelling, wire.cancelled(after)))

    def _sealed(self, redemption: Redemption, reply: Reply) -> dict[Place, Sealed]:
        codes = {
            Place(redemption.program_id, redemption.redemption_id, number): code.encode()
            for number, code in enumerate(reply.codes, 1)
            if code is not None
        }
        return {place: self._vault.seal(code, place) for place, code in codes.items()}

    async def _answer(self, tx: Tx, redemption: Redemption) -> None:
        """Keeps the outcome of the request under its key, for whoever asks with it again."""
        operation = CREATE if redemption.order_id is None else CLAIM
        claim = Claim(redemption.program_id, operation, redemption.idempotency_key, fingerprint=b"")
        answer = wire.created(redemption) if redemption.order_id is None else wire.claimed(redemption)
        await keep_decision(tx, self._idempotency, claim, refusal(redemption.refusal) or answer)


def _fields(redemption: Redemption) -> dict[str, str]:
    return {"program_id": redemption.program_id, "redemption_id": str(redemption.redemption_id)}


def _attributes(redemption: Redemption) -> dict[str, str]:
    return {f"rewards.{name}": value for name, value in _fields(redemption).items()}
