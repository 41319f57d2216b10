"""Makes the deliveries: one lane an endpoint, so that a slow or dead one holds up nobody but itself."""

import asyncio
import logging
import random
from functools import partial
from typing import Final
from uuid import UUID

from opentelemetry import trace
from prometheus_client import Counter

from fulfillment_svc.webhooks import rules, store
from fulfillment_svc.webhooks.rules import Answer, Status
from fulfillment_svc.webhooks.sealer import Sealer
from fulfillment_svc.webhooks.sender import Message, Sender
from fulfillment_svc.webhooks.ssrf import Guard, Target
from fulfillment_svc.webhooks.store import Batch, Claimed, Waiting
from svckit import telemetry
from svckit.clock import Clock, system_clock
from svckit.db import Database
from svckit.errors import Refused
from svckit.programs import Program
from svckit.server import Worker

NAME: Final = "webhook-deliveries"
LANES: Final = 64
# Of the connections that the calls need too.
WRITES: Final = 4

log = logging.getLogger(__name__)
_attempts: Final = Counter("webhook_attempts_total", "Attempts of deliveries by what came of them.", ("outcome",))


class DeliveriesWorker(Worker):
    """The worker of a process; several processes may have one each.

    An attempt is claimed and settled in transactions of its own and made between them, so a crash at any
    point leads to another attempt under the same webhook-id: at least once.
    """

    def __init__(
        self, db: Database, sealer: Sealer, guard: Guard, sender: Sender | None = None, clock: Clock = system_clock
    ) -> None:
        super().__init__(NAME, self._open_lanes)
        self._db = db
        self._sealer = sealer
        self._guard = guard
        self._sender = sender or Sender()
        self._clock = clock
        self._lanes: dict[tuple[str, UUID], asyncio.Task[None]] = {}
        self._crowded = False
        self._writes = asyncio.Semaphore(WRITES)

    async def run(self) -> None:
        """Runs until cancelled; the attempts that are under way then are made again when their leases end."""
        try:
            await super().run()
        finally:
            lanes = [*self._lanes.values()]
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)

    async def _open_lanes(self) -> int:
        """Opens a lane for each endpoint with something due; 0, because each lane that ends asks again."""
        async with self._db.read() as tx:
            waiting = await store.waiting(tx)
        due = [one for one in waiting if not one.active or one.from_at <= one.program.now(self._clock)]
        new = [one for one in due if one.key not in self._lanes]
        # In no order, so that endpoints which are always due leave room for the others.
        random.shuffle(new)
        room = LANES - len(self._lanes)
        self._crowded = len(new) > room
        for one in new[:room]:
            lane = asyncio.create_task(self._run_lane(one), name=NAME)
            self._lanes[one.key] = lane
            lane.add_done_callback(partial(self._close_lane, one.key))
        return 0

    async def _run_lane(self, one: Waiting) -> None:
        step = self._deliver if one.active else self._fail_rest
        while await step(*one.key) and not self._crowded:
            pass

    def _close_lane(self, endpoint: tuple[str, UUID], lane: asyncio.Task[None]) -> None:
        del self._lanes[endpoint]
        if lane.cancelled():
            return
        error = lane.exception()
        if error is None:
            self.wake()
            return
        telemetry.worker_failures.labels(self.name).inc()
        fields = {"worker": self.name, "program_id": endpoint[0], "endpoint_id": str(endpoint[1])}
        log.error("lane failed", exc_info=error, extra={"fields": fields})

    async def _fail_rest(self, program_id: str, endpoint_id: UUID) -> bool:
        async with self._writes:
            return await self._db.transact(lambda tx: store.fail_rest(tx, program_id, endpoint_id)) > 0

    async def _deliver(self, program_id: str, endpoint_id: UUID) -> bool:
        async with self._writes:
            batch = await self._db.transact(lambda tx: store.claim(tx, program_id, endpoint_id, self._clock))
        if batch is None:
            return False
        secret = self._sealer.open(program_id, endpoint_id, batch.sealed_secret)
        target = await self._target(batch)
        attempts = [self._attempt(batch.program, claimed, target, secret) for claimed in batch.deliveries]
        # One that could not be settled must not cut off the others, which the endpoint has seen already.
        for result in await asyncio.gather(*attempts, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        return True

    async def _target(self, batch: Batch) -> Target | None:
        try:
            return await self._guard.admit(batch.url, sandbox=batch.program.sandbox)
        except Refused:
            return None

    async def _attempt(self, program: Program, claimed: Claimed, target: Target | None, secret: str) -> None:
        fields = {"rewards.program_id": program.program_id, "rewards.event_id": str(claimed.event_id)}
        with telemetry.span("webhook.deliver", trace.SpanKind.CLIENT, fields) as span:
            message = Message(str(claimed.event_id), claimed.payload)
            answer = await self._sender.post(target, message, secret) if target else Answer()
            span.set_attribute("http.response.status_code", answer.http_status)
            at, chance = program.now(self._clock), random.random()  # noqa: S311
            verdict = rules.judge(answer, claimed.attempts + 1, at, chance)
            async with self._writes:
                settled = await self._db.transact(lambda tx: store.settle(tx, claimed, answer.http_status, verdict))
        _observe(claimed, answer, verdict.status if settled else "OVERTAKEN")


def _observe(claimed: Claimed, answer: Answer, outcome: str) -> None:
    _attempts.labels(outcome).inc()
    if outcome == Status.DELIVERED:
        return
    fields = {
        "program_id": claimed.program_id,
        "endpoint_id": str(claimed.endpoint_id),
        "event_id": str(claimed.event_id),
        "attempt": claimed.attempts + 1,
        "http_status": answer.http_status,
        "outcome": outcome,
    }
    log.info("webhook attempt failed", extra={"fields": fields})
