"""The SQL of stock. A stock's row is locked before anything about it is decided, and before the catalog's row."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from catalog_svc import store as catalog_store
from catalog_svc.stock.rules import Reservation, State, Stock
from catalog_svc.tables import reservations, stocks
from svckit.db import Tx
from svckit.errors import Reason, Refused


async def lock(tx: Tx, program_id: str, reward_id: str, now: datetime) -> Stock | None:
    """The stock of a reward, locked, without the reservations whose time has run out; None if it has none."""
    one = select(stocks.c.units, stocks.c.reserved).where(
        stocks.c.program_id == program_id, stocks.c.reward_id == reward_id
    )
    row = (await tx.execute(one.with_for_update())).one_or_none()
    if row is None:
        return None
    stock = Stock(row.units, row.reserved)
    lapsed = (
        update(reservations)
        .where(
            reservations.c.program_id == program_id,
            reservations.c.reward_id == reward_id,
            reservations.c.state == State.RESERVED,
            reservations.c.expires_at <= now,
        )
        .values(state=State.EXPIRED)
    )
    freed = sum((await tx.execute(lapsed.returning(reservations.c.quantity))).scalars())
    if not freed:
        return stock
    tidied = stock.give_back(freed)
    await save(tx, program_id, reward_id, stock, tidied)
    return tidied


async def save(tx: Tx, program_id: str, reward_id: str, before: Stock | None, after: Stock) -> None:
    """Stores a stock. Where it runs out or is there again, listings read otherwise."""
    if after == before:
        return
    row = {"units": after.units, "reserved": after.reserved}
    kept = upsert(stocks).values(program_id=program_id, reward_id=reward_id, **row)
    await tx.execute(kept.on_conflict_do_update(index_elements=["program_id", "reward_id"], set_=row))
    if (before is not None and before.left == 0) != (after.left == 0):
        await catalog_store.count_change(tx, program_id)


async def find(tx: Tx, program_id: str, reference: str) -> Reservation | None:
    """The reservation of this reference."""
    kept = reservations.c
    columns = select(kept.reference, kept.reward_id, kept.quantity, kept.state, kept.expires_at, kept.consumed)
    row = (await tx.execute(columns.where(kept.program_id == program_id, kept.reference == reference))).one_or_none()
    if row is None:
        return None
    return Reservation(row.reference, row.reward_id, row.quantity, State(row.state), row.expires_at, row.consumed)


async def keep(tx: Tx, program_id: str, reservation: Reservation) -> None:
    """Stores a reservation as it is now. Its stock must be locked. Raises CONFLICT if its reference has just been used
    for another stock."""
    row = {"state": reservation.state, "expires_at": reservation.expires_at, "consumed": reservation.consumed}
    of = {"reference": reservation.reference, "reward_id": reservation.reward_id, "quantity": reservation.quantity}
    kept = upsert(reservations).values(program_id=program_id, **of, **row)
    same = reservations.c.reward_id == reservation.reward_id
    stored = await tx.execute(
        kept.on_conflict_do_update(index_elements=["program_id", "reference"], set_=row, where=same)
    )
    if stored.rowcount == 0:
        raise Refused(Reason.CONFLICT, "This reference was used for another reward at the same time.")


async def lapsed(tx: Tx, program_id: str, now: datetime, limit: int) -> list[str]:
    """Some of the rewards that have reservations whose time has run out."""
    kept = reservations.c
    due = select(kept.reward_id).where(
        kept.program_id == program_id, kept.state == State.RESERVED, kept.expires_at <= now
    )
    return sorted(set((await tx.execute(due.order_by(kept.expires_at).limit(limit))).scalars()))
