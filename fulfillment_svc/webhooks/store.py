"""All SQL of events, endpoints and deliveries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Row, func, insert, select, true, update

from fulfillment_svc.tables import programs
from fulfillment_svc.webhooks.rules import Endpoint, Status, Verdict
from fulfillment_svc.webhooks.tables import events, webhook_deliveries, webhook_endpoints
from svckit.clock import Clock
from svckit.db import Tx
from svckit.programs import Program

# Longer than an attempt with everything around it takes.
LEASE: Final = timedelta(seconds=40)
BATCH: Final = 8
_CHUNK: Final = 500

_deliveries: Final = webhook_deliveries.c
_endpoints: Final = webhook_endpoints.c


async def create_endpoint(tx: Tx, endpoint: Endpoint) -> None:
    """Adds an endpoint. What is ingested from now on goes to it."""
    row = {
        "program_id": endpoint.program_id,
        "endpoint_id": endpoint.endpoint_id,
        "url": endpoint.url,
        "event_types": list(endpoint.event_types),
        "secret": endpoint.sealed_secret,
        "active": True,
    }
    await tx.execute(insert(webhook_endpoints).values(row))


async def endpoint_exists(tx: Tx, program_id: str, endpoint_id: UUID) -> bool:
    """Whether the program has the endpoint."""
    found = await tx.scalar(select(_endpoints.endpoint_id).where(*_of(_endpoints, program_id, endpoint_id)))
    return found is not None


async def page(tx: Tx, program_id: str, endpoint_id: UUID, before: UUID | None, limit: int) -> list[Row[Any]]:
    """At most `limit` deliveries to the endpoint, the newest event first, older than the event `before`."""
    listed = (
        select(webhook_deliveries, events.c.type, events.c.created_at)
        .join(events, (events.c.program_id == _deliveries.program_id) & (events.c.event_id == _deliveries.event_id))
        .where(*_of(_deliveries, program_id, endpoint_id))
        .order_by(_deliveries.event_id.desc())
        .limit(limit)
    )
    if before is not None:
        listed = listed.where(_deliveries.event_id < before)
    return list(await tx.execute(listed))


@dataclass(frozen=True, slots=True)
class Waiting:
    """An endpoint that has deliveries to make, the first at `from_at` of its program's time."""

    program: Program
    endpoint_id: UUID
    active: bool
    from_at: datetime

    @property
    def key(self) -> tuple[str, UUID]:
        """Program and endpoint."""
        return self.program.program_id, self.endpoint_id


async def waiting(tx: Tx) -> list[Waiting]:
    """Every endpoint that has deliveries to make, now or later.

    It costs one look into the index an endpoint, however long its queue is.
    """
    first = (
        select(_deliveries.due_at)
        .where(
            _deliveries.program_id == _endpoints.program_id,
            _deliveries.endpoint_id == _endpoints.endpoint_id,
            _deliveries.due_at.is_not(None),
        )
        .order_by(_deliveries.due_at)
        .limit(1)
        .lateral()
    )
    from_at = func.greatest(first.c.due_at, _endpoints.quiet_until).label("from_at")
    found = select(_endpoints.program_id, _endpoints.endpoint_id, _endpoints.active, from_at).join(first, true())
    return [
        Waiting(await programs.get(tx, row.program_id), row.endpoint_id, row.active, row.from_at)
        for row in (await tx.execute(found)).all()
    ]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that nobody else tries until its lease ends. `attempts` were made before."""

    program_id: str
    endpoint_id: UUID
    event_id: UUID
    payload: bytes
    attempts: int
    fencing_token: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Claimed deliveries of one endpoint, and where they go."""

    program: Program
    url: str
    sealed_secret: bytes
    deliveries: Sequence[Claimed]


async def claim(tx: Tx, program_id: str, endpoint_id: UUID, clock: Clock) -> Batch | None:
    """Claims at most BATCH deliveries that are due, the oldest first; None if there are none to make.

    Each is leased by its due time and has a new fencing token.
    """
    program = await programs.get(tx, program_id)
    now = program.now(clock)
    open_at = _endpoints.active & (func.coalesce(_endpoints.quiet_until, now) <= now)
    endpoint = (
        await tx.execute(
            select(_endpoints.url, _endpoints.secret).where(*_of(_endpoints, program_id, endpoint_id), open_at)
        )
    ).one_or_none()
    if endpoint is None:
        return None
    due = _pending(program_id, endpoint_id, BATCH, _deliveries.due_at <= now)
    leased = (
        update(webhook_deliveries)
        .where(
            *_of(_deliveries, program_id, endpoint_id),
            _deliveries.event_id == due.c.event_id,
            events.c.program_id == program_id,
            events.c.event_id == due.c.event_id,
        )
        .values(due_at=now + LEASE, fencing_token=_deliveries.fencing_token + 1)
        .returning(_deliveries.event_id, events.c.payload, _deliveries.attempts, _deliveries.fencing_token)
    )
    claimed = [Claimed(program_id, endpoint_id, *row) for row in await tx.execute(leased)]
    return Batch(program, endpoint.url, endpoint.secret, claimed) if claimed else None


async def settle(tx: Tx, claimed: Claimed, http_status: int, verdict: Verdict) -> bool:
    """Writes what came of an attempt; False, and nothing is written, if somebody claimed it anew since."""
    settled = await tx.execute(
        update(webhook_deliveries)
        .where(
            *_of(_deliveries, claimed.program_id, claimed.endpoint_id),
            _deliveries.event_id == claimed.event_id,
            _deliveries.fencing_token == claimed.fencing_token,
            _deliveries.status == Status.PENDING,
        )
        .values(
            status=verdict.status, attempts=claimed.attempts + 1, last_http_status=http_status, due_at=verdict.due_at
        )
    )
    if settled.rowcount == 0:
        return False
    change: dict[str, Any] = {"active": False} if verdict.disables else {"quiet_until": verdict.quiet_until}
    if verdict.disables or verdict.quiet_until:
        endpoint = _of(_endpoints, claimed.program_id, claimed.endpoint_id)
        await tx.execute(update(webhook_endpoints).where(*endpoint).values(change))
    return True


async def fail_rest(tx: Tx, program_id: str, endpoint_id: UUID) -> int:
    """Ends some deliveries to an endpoint that is not active any more, due or not; 0 when there are none left."""
    pending = _pending(program_id, endpoint_id, _CHUNK, _deliveries.due_at.is_not(None))
    ended = (
        update(webhook_deliveries)
        .where(*_of(_deliveries, program_id, endpoint_id), _deliveries.event_id == pending.c.event_id)
        .values(status=Status.FAILED, due_at=None)
    )
    return (await tx.execute(ended)).rowcount


def _pending(program_id: str, endpoint_id: UUID, limit: int, condition: ColumnElement[bool]) -> CTE:
    return (
        select(_deliveries.event_id)
        .where(*_of(_deliveries, program_id, endpoint_id), condition)
        .order_by(_deliveries.due_at, _deliveries.event_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("pending")
    )


def _of(table: Any, program_id: str, endpoint_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return table.program_id == program_id, table.endpoint_id == endpoint_id
