"""SQL that reads the journal."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from ledger_svc.journal.store import entry_of
from ledger_svc.journal.values import Entry, Key
from ledger_svc.tables import accounts, entries
from svckit.db import Tx

Period = tuple[datetime | None, datetime | None]


async def history(
    tx: Tx, key: Key, period: Period, kinds: Sequence[int], before: int | None, limit: int
) -> list[Entry]:
    """Entries of an account, newest first: recorded in [from, to), of these kinds, older than `before`."""
    statement = (
        select(entries)
        .join(
            accounts,
            (accounts.c.program_id == entries.c.program_id) & (accounts.c.account_id == entries.c.account_id),
        )
        .where(
            accounts.c.program_id == key.program_id,
            accounts.c.owner_kind == key.owner_kind,
            accounts.c.owner == key.owner,
            accounts.c.asset == key.asset,
        )
        .order_by(entries.c.recorded_at.desc())
        .limit(limit)
    )
    start, end = period
    if start is not None:
        statement = statement.where(entries.c.recorded_at >= start)
    if end is not None:
        statement = statement.where(entries.c.recorded_at < end)
    if kinds:
        statement = statement.where(entries.c.kind.in_(kinds))
    if before is not None:
        statement = statement.where(entries.c.version < before)
    return [entry_of(row) for row in await tx.execute(statement)]
