"""The outbox: events are written in the transaction that makes them true, and a relay hands them to
fulfillment_svc at least once, in the order of each program (design decision 13)."""

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rewards.fulfillment.v1.webhooks_pb2 import Event, PublishEventsRequest
from sqlalchemy import Column, DateTime, MetaData, RowMapping, Table, Text, Uuid, insert, text

from svckit.clients import invoke
from svckit.clock import new_id
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused

if TYPE_CHECKING:
    from rewards.fulfillment.v1.webhooks_pb2_grpc import EventsServiceAsyncStub

BATCH: Final = 500
log = logging.getLogger(__name__)

# One step in the index a program that has events, however many those are, and however many were handed over.
_NEXT: Final = text("""
WITH RECURSIVE waiting AS ((SELECT program_id, created_at FROM outbox ORDER BY 1, 2 LIMIT 1) UNION ALL
    SELECT more.* FROM waiting w CROSS JOIN LATERAL (
        SELECT program_id, created_at FROM outbox o WHERE o.program_id > w.program_id ORDER BY 1, 2 LIMIT 1) more)
SELECT program_id FROM waiting WHERE program_id NOT IN (
    SELECT program_id FROM outbox_leases WHERE until > now() AND holder <> :holder) ORDER BY created_at LIMIT 1""")
_LEASE: Final = text("""
INSERT INTO outbox_leases AS l VALUES (:program_id, :holder, now() + interval '10 seconds') ON CONFLICT (program_id)
DO UPDATE SET holder = excluded.holder, until = excluded.until WHERE l.until <= now() OR l.holder = excluded.holder""")
# Leased to nobody, so that not even this relay asks for them.
_LATER: Final = text("""
UPDATE outbox_leases SET holder = :nobody, until = now() + interval '1 minute' WHERE program_id = :program_id""")
_OLDEST: Final = text("""
SELECT program_id, event_id::text, type, member_id, created_at, data AS data_json FROM outbox
WHERE program_id = :program_id ORDER BY created_at, event_id LIMIT :limit""")
# The instant bounds what is read. No join with the ids: planned while the table is empty, it takes each with each row.
_SENT: Final = text("""
DELETE FROM outbox WHERE program_id = :program_id AND created_at <= :until AND event_id = ANY (CAST(:events AS uuid[]))
""")


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
            Column("created_at", DateTime(timezone=True), primary_key=True),
            Column("event_id", Uuid, primary_key=True),
            Column("type", Text, nullable=False),
            Column("member_id", Text, nullable=False),
            Column("data", Text, nullable=False),
        )
        # One relay a program at a time keeps the order of its events.
        Table(
            "outbox_leases",
            metadata,
            Column("program_id", Text, primary_key=True),
            Column("holder", Uuid, nullable=False),
            Column("until", DateTime(timezone=True), nullable=False),
        )
        self._holder = new_id()

    async def append(self, tx: Tx, *drafts: Draft) -> None:
        """Adds events to the transaction."""
        if rows := [draft._asdict() | {"event_id": new_id(), "data": json.dumps(draft.data)} for draft in drafts]:
            await tx.execute(insert(self._events), rows)

    async def relay(self, db: Database, events: "EventsServiceAsyncStub") -> int:
        """Hands over the oldest events of one program; how many. A crash after it sends them again: the receiver
        knows an event by its id. What it refuses, of a program it does not know yet, waits a minute."""
        if batch := await db.transact(self._claim):
            program_id = batch[0]["program_id"]
            try:
                await invoke(events.PublishEvents, PublishEventsRequest(events=[Event(**row) for row in batch]))
            except Refused as refusal:
                if refusal.reason in (Reason.UNAVAILABLE, Reason.TIMEOUT):
                    raise
                log.warning("events refused", extra={"fields": {"program": program_id}})
                await db.transact(lambda tx: tx.execute(_LATER, {"program_id": program_id, "nobody": new_id()}))
                return len(batch)
            until, ids = batch[-1]["created_at"], [one["event_id"] for one in batch]
            sent = {"program_id": program_id, "until": until, "events": ids}
            await db.transact(lambda tx: tx.execute(_SENT, sent))
        return len(batch)

    async def _claim(self, tx: Tx) -> Sequence[RowMapping]:
        program_id = await tx.scalar(_NEXT, {"holder": self._holder})
        lease = {"program_id": program_id, "holder": self._holder}
        if program_id is None or (await tx.execute(_LEASE, lease)).rowcount == 0:
            return []
        return (await tx.execute(_OLDEST, {"program_id": program_id, "limit": BATCH})).mappings().all()
