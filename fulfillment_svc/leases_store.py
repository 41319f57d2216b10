"""What the rows that workers claim have in common: from `due_at` on one may be taken, so a lease lies in the future."""

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, func, select

from svckit.db import Tx


async def program_with_due(tx: Tx, rows: Table) -> str | None:
    """The program with the row of `rows` that is due longest, if any is."""
    due = select(rows.c.program_id).where(rows.c.due_at <= func.now()).order_by(rows.c.due_at).limit(1)
    found: str | None = await tx.scalar(due)
    return found


def from_now(seconds: float) -> ColumnElement[Any]:
    """An instant by the database's clock."""
    return func.now() + timedelta(seconds=seconds)
