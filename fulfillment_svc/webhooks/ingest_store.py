"""SQL that takes events in: a statement a table, whatever the number of events."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from rewards.fulfillment.v1 import webhooks_pb2 as pb
from sqlalchemy import insert, select, text

from fulfillment_svc.tables import programs
from fulfillment_svc.webhooks import rules, wire
from fulfillment_svc.webhooks.rules import Status
from fulfillment_svc.webhooks.tables import webhook_deliveries, webhook_endpoints
from svckit.db import Tx
from svckit.programs import Program

_NEW_SEQUENCES: Final = text("""
INSERT INTO event_sequences (program_id, member_id, last)
SELECT :program_id, w.member_id, 0 FROM unnest(CAST(:members AS text[])) AS w (member_id) ON CONFLICT DO NOTHING
""")
# In the order of bytes, as sorted() has it, whatever the database's collation is.
_LOCK_SEQUENCES: Final = text("""
SELECT member_id, last FROM event_sequences
WHERE program_id = :program_id AND member_id = ANY (CAST(:members AS text[]))
ORDER BY member_id COLLATE "C" FOR UPDATE
""")
_COUNT: Final = text("""
UPDATE event_sequences s SET last = w.last
FROM unnest(CAST(:members AS text[]), CAST(:numbers AS bigint[])) AS w (member_id, last)
WHERE s.program_id = :program_id AND s.member_id = w.member_id
""")
_KNOWN: Final = text("""
SELECT event_id FROM events WHERE program_id = :program_id AND event_id = ANY (CAST(:events AS uuid[]))
""")
_ADD: Final = text("""
INSERT INTO events (program_id, event_id, type, member_id, sequence, created_at, payload)
SELECT :program_id, * FROM unnest(CAST(:events AS uuid[]), CAST(:types AS text[]), CAST(:members AS text[]),
    CAST(:numbers AS bigint[]), CAST(:instants AS timestamptz[]), CAST(:payloads AS bytea[]))
""")


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
    added: dict[UUID, tuple[rules.Event, int]] = {}
    for event in new:
        if event.event_id not in seen and event.event_id not in added:
            last[event.member_id] += 1
            added[event.event_id] = event, last[event.member_id]
    if added:
        await _add(tx, program.program_id, added.values())
        counted = {"members": list(last), "numbers": list(last.values())}
        await tx.execute(_COUNT, {"program_id": program.program_id, **counted})
        await _queue(tx, program.program_id, [event for event, _ in added.values()])
    return len(added)


async def _lock_sequences(tx: Tx, program_id: str, members: Iterable[str]) -> dict[str, int]:
    """Locks the members' counters in the order of their ids, so that two batches cannot deadlock."""
    of = {"program_id": program_id, "members": sorted(members)}
    await tx.execute(_NEW_SEQUENCES, of)
    return {row.member_id: row.last for row in await tx.execute(_LOCK_SEQUENCES, of)}


async def _known(tx: Tx, program_id: str, event_ids: Sequence[UUID]) -> set[UUID]:
    return set(await tx.scalars(_KNOWN, {"program_id": program_id, "events": event_ids}))


async def _add(tx: Tx, program_id: str, added: Iterable[tuple[rules.Event, int]]) -> None:
    rows = [
        (event.event_id, event.type, event.member_id, number, event.created_at, rules.payload(event, number))
        for event, number in added
    ]
    names = ("events", "types", "members", "numbers", "instants", "payloads")
    columns = (list(column) for column in zip(*rows, strict=True))
    await tx.execute(_ADD, {"program_id": program_id, **dict(zip(names, columns, strict=True))})


async def _queue(tx: Tx, program_id: str, added: Sequence[rules.Event]) -> None:
    endpoints = webhook_endpoints.c
    active = select(endpoints.endpoint_id, endpoints.event_types)
    listening = (await tx.execute(active.where(endpoints.program_id == program_id, endpoints.active))).all()
    queued: list[dict[str, Any]] = [
        {
            "program_id": program_id,
            "endpoint_id": endpoint.endpoint_id,
            "event_id": event.event_id,
            "status": Status.PENDING,
            "attempts": 0,
            "last_http_status": 0,
            # Due at once, on whatever clock.
            "due_at": event.created_at,
            "fencing_token": 0,
        }
        for event in added
        for endpoint in listening
        if rules.subscribed(endpoint.event_types, event.type)
    ]
    if queued:
        await tx.execute(insert(webhook_deliveries), queued)
