"""SQL of batches. A batch is one row, with an array for each column of its items."""

from typing import Final
from uuid import UUID

from sqlalchemy import insert, text

from ledger_svc.bulk.rules import Batch, Found, ItemStatus, Kept, Tally
from ledger_svc.journal.values import Mode
from ledger_svc.tables import transaction_batches
from svckit.db import Tx
from svckit.errors import Reason, Refused

# Statuses are ItemStatus' numbers.
_TALLY: Final = text("""
SELECT mode, created_at, cardinality(array_positions(statuses, 1::smallint)) AS succeeded,
    cardinality(array_positions(statuses, 2::smallint)) AS failed,
    cardinality(array_positions(statuses, 3::smallint)) AS skipped,
    array_position(statuses, 2::smallint) - 1 AS first_failed
FROM transaction_batches WHERE program_id = :program_id AND batch_id = :batch_id
""")
_PAGE: Final = text("""
SELECT i.key, i.status, i.replayed, i.refusal, k.body FROM (
    SELECT b.program_id, u.* FROM transaction_batches b
    CROSS JOIN unnest(b.keys, b.statuses, b.replays, b.refusals)
        WITH ORDINALITY AS u (key, status, replayed, refusal, place)
    WHERE b.program_id = :program_id AND b.batch_id = :batch_id AND u.place > :start
    ORDER BY u.place LIMIT :limit) i
LEFT JOIN idempotency_keys k ON i.status = 1
    AND k.program_id = i.program_id AND k.operation = 'InsertTransactionData' AND k.key = i.key
ORDER BY i.place
""")


async def add(tx: Tx, batch: Batch) -> None:
    """Adds a batch."""
    keys, statuses, replays, refusals = (list(column) for column in zip(*batch.items, strict=True))
    row = {
        "program_id": batch.program_id,
        "batch_id": batch.batch_id,
        "mode": batch.mode,
        "created_at": batch.created_at,
        "keys": keys,
        "statuses": statuses,
        "replays": replays,
        "refusals": refusals,
    }
    await tx.execute(insert(transaction_batches).values(row))


async def tally(tx: Tx, program_id: str, batch_id: UUID) -> Tally:
    """A batch in figures. Raises ORDER_NOT_FOUND, also for another program's (G49)."""
    row = (await tx.execute(_TALLY, {"program_id": program_id, "batch_id": batch_id})).one_or_none()
    if row is None:
        raise Refused(Reason.ORDER_NOT_FOUND, "There is no such batch.")
    mode, *figures = row
    return Tally(Mode(mode), *figures)


async def page(tx: Tx, program_id: str, batch_id: UUID, start: int, limit: int) -> list[Found]:
    """Items of a batch in their order, without the first `start`."""
    names = {"program_id": program_id, "batch_id": batch_id, "start": start, "limit": limit}
    return [
        Found(Kept(key, ItemStatus(status), replayed, refusal), answer)
        for key, status, replayed, refusal, answer in await tx.execute(_PAGE, names)
    ]
