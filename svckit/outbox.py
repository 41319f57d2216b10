"""The outbox: events are written in the transaction that makes them true, and a relay hands them to
fulfillment_svc at least once, in the order of each program (design decision 13)."""

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from rewards.fulfillment.v1.webhooks_pb2 import Event, PublishEventsRequest
from sqlalchemy import Column, DateTime, MetaData, Table, Text, Uuid, cast, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from svckit.clients import invoke
from svckit.clock import new_id
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused

if TYPE_CHECKING:
    from rewards.fulfillment.v1.webhooks_pb2_grpc import EventsServiceAsyncStub

BATCH: Final = 200
log = logging.getLogger(__name__)
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
        again: the receiver knows an event by its id. Where the receiver refuses a program, for example because it does
        not know it yet, that program's events wait a minute and the others' go first."""
        batch = await db.transact(self._claim)
        if batch:
            try:
                await invoke(events.PublishEvents, PublishEventsRequest(events=batch))
            except Refused as refusal:
                if refusal.reason in (Reason.UNAVAILABLE, Reason.TIMEOUT):
                    raise
                log.warning("events refused", extra={"fields": {"program": batch[0].program_id}})
                # Leased to nobody, so that not even this relay asks for them.
                later = {"holder": new_id(), "until": text("now() + interval '1 minute'")}
                mine = update(self._leases).where(self._leases.c.program_id == batch[0].program_id)
                await db.transact(lambda tx: tx.execute(mine.values(later)))
                return len(batch)
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
        # The columns as the message names them.
        named = (cast(events.event_id, Text).label("event_id"), events.data.label("data_json"))
        batch = select(events.program_id, events.type, events.member_id, events.created_at, *named)
        batch = batch.where(events.program_id == program_id).order_by(events.created_at, events.event_id).limit(BATCH)
        return [Event(**row) for row in (await tx.execute(batch)).mappings()]
