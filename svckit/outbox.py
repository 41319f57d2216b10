"""The outbox: events are written in the transaction that makes them true, and a relay hands them to
fulfillment_svc at least once, in the order of each program (design decision 13)."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from rewards.fulfillment.v1.webhooks_pb2 import Event, PublishEventsRequest
from sqlalchemy import Column, DateTime, MetaData, Table, Text, Uuid, delete, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from svckit.clients import invoke
from svckit.clock import new_id
from svckit.db import Database, Tx

if TYPE_CHECKING:
    from rewards.fulfillment.v1.webhooks_pb2_grpc import EventsServiceAsyncStub

BATCH: Final = 200
LEASE: Final = text("now() + interval '10 seconds'")


class Draft(NamedTuple):
    """An event about to be true. `data` is the payload's data member and holds no personal data."""

    program_id: str
    type: str
    member_id: str
    created_at: datetime
    data: Mapping[str, Any]


class Outbox:
    """A service's outbox: two tables, `append` for transactions, and `relay`, a worker's step."""

    def __init__(self, metadata: MetaData) -> None:
        self._events = Table(
            "outbox",
            metadata,
            Column("program_id", Text, primary_key=True),
            Column("event_id", Uuid, primary_key=True),
            Column("type", Text, nullable=False),
            Column("member_id", Text, nullable=False),
            Column("created_at", DateTime(timezone=True), nullable=False),
            Column("data", Text, nullable=False),
        )
        # One relay a program at a time keeps the order of its events.
        self._leases = Table(
            "outbox_leases",
            metadata,
            Column("program_id", Text, primary_key=True),
            Column("holder", Uuid, nullable=False),
            Column("until", DateTime(timezone=True), nullable=False),
        )
        self._holder = new_id()

    async def append(self, tx: Tx, *drafts: Draft) -> None:
        """Adds events to the transaction."""
        rows = [draft._asdict() | {"event_id": new_id(), "data": json.dumps(draft.data)} for draft in drafts]
        if rows:
            await tx.execute(insert(self._events), rows)

    async def relay(self, db: Database, events: "EventsServiceAsyncStub") -> int:
        """Hands over the oldest events of one program; how many there were. A crash after the hand-over sends them
        again: the receiver knows an event by its id."""
        batch = await db.transact(self._claim)
        if batch:
            await invoke(events.PublishEvents, PublishEventsRequest(events=batch))
            kept = self._events.c
            sent = kept.event_id.in_([UUID(event.event_id) for event in batch])
            done = delete(self._events).where(kept.program_id == batch[0].program_id, sent)
            await db.transact(lambda tx: tx.execute(done))
        return len(batch)

    async def _claim(self, tx: Tx) -> list[Event]:
        events, leases = self._events.c, self._leases.c
        held = select(leases.program_id).where(leases.until > func.now(), leases.holder != self._holder)
        oldest = select(events.program_id).where(events.program_id.not_in(held)).order_by(events.created_at).limit(1)
        program_id = await tx.scalar(oldest)
        if program_id is None:
            return []
        lease = {"program_id": program_id, "holder": self._holder, "until": LEASE}
        free = (leases.until <= func.now()) | (leases.holder == self._holder)
        claim = upsert(self._leases).values(lease)
        claim = claim.on_conflict_do_update(index_elements=["program_id"], set_=lease, where=free)
        if (await tx.execute(claim)).rowcount == 0:
            return []
        batch = select(self._events).where(events.program_id == program_id)
        rows = await tx.execute(batch.order_by(events.created_at, events.event_id).limit(BATCH))
        return [_event(row) for row in rows]


def _event(row: Any) -> Event:
    whose = {"program_id": row.program_id, "member_id": row.member_id}
    return Event(event_id=str(row.event_id), type=row.type, created_at=row.created_at, data_json=row.data, **whose)
