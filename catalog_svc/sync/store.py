"""The SQL of synchronisations. One that runs is leased; a worker that lost its lease can finish nothing."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from catalog_svc.store import among
from catalog_svc.sync.rules import Action, Change, Plan
from catalog_svc.tables import rewards, stocks, sync_changes, syncs
from svckit.db import Tx

_AT_ONCE: Final = 250
_RUNNING: Final = text("state = 'RUNNING'")


@dataclass(frozen=True, slots=True)
class Sync:
    """A synchronisation as stored. `lease` counts the workers that took it up."""

    program_id: str
    sync_id: UUID
    provider: str
    dry_run: bool
    force: bool
    started_at: datetime
    state: str = "RUNNING"
    lease: int = 0
    reason: str = ""
    added: int = 0
    changed: int = 0
    withdrawn: int = 0
    rejected: int = 0
    unchanged: int = 0
    ended_at: datetime | None = None


class LeaseLost(Exception):  # noqa: N818 - what happened, as it reads where it is caught
    """Another worker has taken it up since."""


_COLUMNS: Final = [syncs.c[name] for name in Sync.__dataclass_fields__]


async def begin(tx: Tx, sync: Sync, actor: str) -> bool:
    """Stores a new one, to be taken up at once; False if one of the same provider runs already."""
    row = {name: getattr(sync, name) for name in Sync.__dataclass_fields__}
    added = upsert(syncs).values(**row, actor=actor, due_at=func.now())
    once = added.on_conflict_do_nothing(index_elements=["program_id", "provider"], index_where=_RUNNING)
    return (await tx.execute(once)).rowcount == 1


async def claim(tx: Tx, lease_s: float) -> Sync | None:
    """Takes up one that nobody works on."""
    due = select(syncs.c.program_id, syncs.c.sync_id).where(_RUNNING, syncs.c.due_at <= func.now())
    row = (await tx.execute(due.order_by(syncs.c.due_at).limit(1).with_for_update(skip_locked=True))).one_or_none()
    if row is None:
        return None
    taken = update(syncs).where(syncs.c.program_id == row.program_id, syncs.c.sync_id == row.sync_id)
    leased = taken.values(lease=syncs.c.lease + 1, due_at=func.now() + timedelta(seconds=lease_s))
    return Sync(**(await tx.execute(leased.returning(*_COLUMNS))).one()._mapping)  # noqa: SLF001 - SQLAlchemy's own name


async def end(tx: Tx, sync: Sync, state: str, *, reason: str = "", plan: Plan | None = None) -> None:
    """Stores how it ended and what it did with each reward. Raises LeaseLost."""
    counts = {} if plan is None else {action.lower(): plan.count(action) for action in Action}
    of = (syncs.c.program_id == sync.program_id, syncs.c.sync_id == sync.sync_id, syncs.c.lease == sync.lease)
    ended = update(syncs).where(*of, _RUNNING).values(state=state, reason=reason, ended_at=func.now(), **counts)
    if plan is not None:
        ended = ended.values(unchanged=plan.unchanged)
    if (await tx.execute(ended)).rowcount == 0:
        raise LeaseLost
    rows = [
        {"program_id": sync.program_id, "sync_id": sync.sync_id, **change._asdict(), "fields": list(change.fields)}
        for change in (plan.changes if plan is not None else ())
    ]
    for start in range(0, len(rows), _AT_ONCE):
        await tx.execute(insert(sync_changes), rows[start : start + _AT_ONCE])


async def find(tx: Tx, program_id: str, sync_id: UUID) -> Sync | None:
    """A synchronisation."""
    one = select(*_COLUMNS).where(syncs.c.program_id == program_id, syncs.c.sync_id == sync_id)
    row = (await tx.execute(one)).one_or_none()
    return None if row is None else Sync(**row._mapping)  # noqa: SLF001 - SQLAlchemy's own name


async def changes(tx: Tx, program_id: str, sync_id: UUID, after: str, limit: int) -> list[Change]:
    """What it did with the rewards after this one, in order of their ids."""
    kept = sync_changes.c
    page = select(kept.reward_id, kept.action, kept.fields, kept.reason).where(
        kept.program_id == program_id, kept.sync_id == sync_id, kept.reward_id > after
    )
    rows = await tx.execute(page.order_by(kept.reward_id).limit(limit))
    return [Change(row.reward_id, Action(row.action), tuple(row.fields), row.reason) for row in rows]


async def taken(tx: Tx, program_id: str, provider: str, reward_ids: Collection[str]) -> set[str]:
    """Which of the ids are others' rewards."""
    others = select(rewards.c.reward_id).where(
        rewards.c.program_id == program_id, rewards.c.provider != provider, among(rewards.c.reward_id, reward_ids)
    )
    return set((await tx.execute(others)).scalars())


async def lock_units(tx: Tx, program_id: str, reward_ids: Collection[str]) -> dict[str, int | None]:
    """How many units there are of those of the rewards that have a stock, locked in order of their ids."""
    kept = select(stocks.c.reward_id, stocks.c.units).where(
        stocks.c.program_id == program_id, among(stocks.c.reward_id, reward_ids)
    )
    rows = await tx.execute(kept.order_by(stocks.c.reward_id).with_for_update())
    return {row.reward_id: row.units for row in rows}


async def set_units(tx: Tx, program_id: str, units: Mapping[str, int]) -> None:
    """Sets how many units there are; what is reserved of them stays so."""
    rows: Sequence[dict[str, Any]] = [
        {"program_id": program_id, "reward_id": name, "units": count, "reserved": 0} for name, count in units.items()
    ]
    kept = upsert(stocks)
    kept = kept.on_conflict_do_update(index_elements=["program_id", "reward_id"], set_={"units": kept.excluded.units})
    for start in range(0, len(rows), _AT_ONCE):
        await tx.execute(kept, rows[start : start + _AT_ONCE])
