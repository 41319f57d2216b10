"""All SQL of events, endpoints and deliveries."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from rewards.fulfillment.v1 import webhooks_pb2 as pb
from sqlalchemy import CTE, ColumnElement, Row, func, insert, select, true, update
from sqlalchemy.dialects.postgresql import insert as upsert

from fulfillment_svc.tables import programs
from fulfillment_svc.webhooks import rules, wire
from fulfillment_svc.webhooks.rules import Endpoint, Status, Verdict
from fulfillment_svc.webhooks.tables import event_sequences, events, webhook_deliveries, webhook_endpoints
from svckit.clock import Clock
from svckit.db import Tx
from svckit.programs import Program

# Longer than an attempt with everything around it takes.
LEASE: Final = timedelta(seconds=40)
BATCH: Final = 8
_CHUNK: Final = 500

_deliveries: Final = webhook_deliveries.c
_endpoints: Final = webhook_endpoints.c


async def ingest(tx: Tx, new: Sequence[pb.Event]) -> int:
    """Takes events in, each once by its id, and queues their deliveries; how many were new.

    Each gets the next number of its member's sequence, in the order given. The counters stay locked until
    the transaction ends, so a sequence has no gap and its order is that of the commits. Raises
    INVALID_REQUEST if an event's data is no JSON object, NOT_FOUND for a program that is unknown here.
    """
    by_program = sorted(new, key=lambda event: event.program_id)
    total = 0
    for program_id, group in groupby(by_program, key=lambda event: event.program_id):
        program = await programs.get(tx, program_id)
        total += await _ingest(tx, program, [wire.event(event, live=not program.sandbox) for event in group])
    return total


async def _ingest(tx: Tx, program: Program, new: Sequence[rules.Event]) -> int:
    last = await _lock_sequences(tx, program.program_id, {event.member_id for event in new})
    # Asked under the locks: a twin of an event waits for them too, as it is of the same member.
    seen = await _known(tx, program.program_id, [event.event_id for event in new])
    rows: list[dict[str, Any]] = []
    for event in new:
        if event.event_id not in seen:
            seen.add(event.event_id)
            last[event.member_id] += 1
            rows.append(_event_row(event, last[event.member_id]))
    if rows:
        await tx.execute(insert(events), rows)
        await _count(tx, program.program_id, last)
        await _queue(tx, program.program_id, rows)
    return len(rows)


def _event_row(event: rules.Event, sequence: int) -> dict[str, Any]:
    return {
        "program_id": event.program_id,
        "event_id": event.event_id,
        "type": event.type,
        "member_id": event.member_id,
        "sequence": sequence,
        "created_at": event.created_at,
        "payload": rules.payload(event, sequence),
    }


async def _lock_sequences(tx: Tx, program_id: str, member_ids: Iterable[str]) -> dict[str, int]:
    """Locks the members' counters in the order of their ids, so that two batches cannot deadlock."""
    counters, ordered = event_sequences.c, sorted(member_ids)
    blank = [{"program_id": program_id, "member_id": member_id, "last": 0} for member_id in ordered]
    await tx.execute(upsert(event_sequences).values(blank).on_conflict_do_nothing())
    locked = (
        select(counters.member_id, counters.last)
        .where(counters.program_id == program_id, counters.member_id.in_(ordered))
        # The order of bytes, as sorted() above has it, whatever the database's collation is.
        .order_by(counters.member_id.collate("C"))
        .with_for_update()
    )
    return {row.member_id: row.last for row in await tx.execute(locked)}


async def _known(tx: Tx, program_id: str, event_ids: Sequence[UUID]) -> set[UUID]:
    present = select(events.c.event_id).where(events.c.program_id == program_id, events.c.event_id.in_(event_ids))
    return set(await tx.scalars(present))


async def _count(tx: Tx, program_id: str, last: dict[str, int]) -> None:
    counted = upsert(event_sequences).values(
        [{"program_id": program_id, "member_id": member_id, "last": number} for member_id, number in last.items()]
    )
    key, set_ = event_sequences.primary_key, {"last": counted.excluded.last}
    await tx.execute(counted.on_conflict_do_update(constraint=key, set_=set_))


async def _queue(tx: Tx, program_id: str, rows: Sequence[dict[str, Any]]) -> None:
    active = select(_endpoints.endpoint_id, _endpoints.event_types)
    endpoints = (await tx.execute(active.where(_endpoints.program_id == program_id, _endpoints.active))).all()
    queued = [
        {
            "program_id": program_id,
            "endpoint_id": endpoint.endpoint_id,
            "event_id": row["event_id"],
            "status": Status.PENDING,
            "attempts": 0,
            "last_http_status": 0,
            # Due at once, on whatever clock.
            "due_at": row["created_at"],
            "fencing_token": 0,
        }
        for row in rows
        for endpoint in endpoints
        if rules.subscribed(endpoint.event_types, row["type"])
    ]
    if queued:
        await tx.execute(insert(webhook_deliveries), queued)


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
