"""Every statement about adjustments."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, insert, select, tuple_, update

from ledger_svc.adjustments.rules import Adjustment, Status
from ledger_svc.tables import adjustments
from svckit.db import Tx
from svckit.errors import Reason, Refused

_c = adjustments.c


async def add(tx: Tx, adjustment: Adjustment) -> None:
    """Adds an adjustment as it stands."""
    await tx.execute(insert(adjustments).values(asdict(adjustment)))


async def get(tx: Tx, program_id: str, adjustment_id: UUID, *, lock: bool = False) -> Adjustment:
    """An adjustment; with `lock` nobody else decides on it until the transaction ends. Raises NOT_FOUND."""
    found = select(adjustments).where(_c.program_id == program_id, _c.adjustment_id == adjustment_id)
    row = (await tx.execute(found.with_for_update() if lock else found)).mappings().one_or_none()
    if row is None:
        raise Refused(Reason.NOT_FOUND, "There is no such adjustment.")
    return _adjustment(row)


async def decide(tx: Tx, adjustment: Adjustment) -> None:
    """Writes what became of a locked adjustment."""
    this_one = (_c.program_id == adjustment.program_id, _c.adjustment_id == adjustment.adjustment_id)
    became = {name: getattr(adjustment, name) for name in ("state", "decided_by", "decided_at")}
    await tx.execute(update(adjustments).where(*this_one).values(became))


async def page(
    tx: Tx, program_id: str, status: Status | None, member_id: str, after: tuple[datetime, UUID] | None, limit: int
) -> list[Adjustment]:
    """Adjustments, the newest first; of a status, of a member, and after a place."""
    found = select(adjustments).where(_c.program_id == program_id)
    if status is not None:
        found = found.where(_c.state == status)
    if member_id:
        found = found.where(_c.member_id == member_id)
    if after is not None:
        found = found.where(tuple_(_c.created_at, _c.adjustment_id) < after)
    newest_first = found.order_by(_c.created_at.desc(), _c.adjustment_id.desc()).limit(limit)
    return [_adjustment(row) for row in (await tx.execute(newest_first)).mappings()]


def _adjustment(row: RowMapping) -> Adjustment:
    return Adjustment(**{**row, "state": Status(row["state"])})
