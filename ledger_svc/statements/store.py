"""SQL that reads the journal. Each answer is one statement, so it is one snapshot; or it says so by `one_snapshot`.

What an answer costs depends on what it shows, not on how long the account's history is: an instant is found
by the entries' own key, and closed lots are never looked at.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, func, select, text
from sqlalchemy.sql.elements import TextClause

from ledger_svc.journal.store import entry_of
from ledger_svc.journal.values import Category, Entry, Key, Kind, Lot
from ledger_svc.statements.rules import Movement, Period, Statement
from ledger_svc.tables import accounts, entries, holds, lots
from svckit.db import Tx


class Standing(NamedTuple):
    """What an account holds at an instant: `balance` is posted points that have not run out (G3)."""

    balance: int
    held: int

    @property
    def available(self) -> int:
        """What may be taken: the balance less the holds (G6), never below 0."""
        return max(0, self.balance - self.held)


_NOTHING: Final = Standing(0, 0)

_NOW: Final = text("""
SELECT a.posted - coalesce((
    SELECT sum(l.remaining) FROM lots l
    WHERE l.program_id = a.program_id AND l.account_id = a.account_id AND l.open AND l.expires_at <= :at
), 0)::bigint AS balance, a.held
FROM accounts a
WHERE a.program_id = :program_id AND a.owner_kind = :owner_kind AND a.owner = :owner AND a.asset = :asset
""")

# Whatever touches an account first posts what has run out. So what had run out but was not posted at an instant
# is the unbroken run of such expiries right after it, and the balance is the one that the next entry after the run
# found. If there is none, the run may have gone on in the open lots. A hold that was given up during the run had its
# points thawed and expired there: at the instant they were held, so they are no part of it (G5).
_AS_OF: Final = text("""
SELECT coalesce(next.balance_after - next.amount, a.posted - waiting.amount) + held.thawed AS balance,
    held.amount AS held
FROM accounts a
LEFT JOIN LATERAL (
    SELECT e.recorded_at, e.balance_after, e.amount FROM entries e
    WHERE e.program_id = a.program_id AND e.account_id = a.account_id AND e.recorded_at > :at
        AND NOT (e.kind = :expire AND e.effective_at <= :at)
    ORDER BY e.recorded_at LIMIT 1
) next ON true
CROSS JOIN LATERAL (
    SELECT coalesce(sum(l.remaining), 0)::bigint AS amount FROM lots l
    WHERE l.program_id = a.program_id AND l.account_id = a.account_id AND l.open AND l.expires_at <= :at
        AND next.recorded_at IS NULL
) waiting
CROSS JOIN LATERAL (
    SELECT coalesce(sum(h.amount), 0)::bigint AS amount, coalesce(sum((
        SELECT -sum(u.amount) FROM lot_uses u
        JOIN lots l ON l.program_id = u.program_id AND l.account_id = a.account_id AND l.lot_id = u.lot_id
        WHERE u.program_id = a.program_id AND u.transaction_id = h.hold_id AND u.amount < 0 AND l.expires_at <= :at
            AND h.ended_at < coalesce(next.recorded_at, 'infinity')
    )), 0)::bigint AS thawed
    FROM (
        SELECT * FROM holds WHERE program_id = a.program_id AND account_id = a.account_id AND ended_at > :at
        UNION ALL
        SELECT * FROM holds WHERE program_id = a.program_id AND account_id = a.account_id AND ended_at IS NULL
    ) h
    WHERE h.placed_at <= :at
) held
WHERE a.program_id = :program_id AND a.owner_kind = :owner_kind AND a.owner = :owner AND a.asset = :asset
""")

# Backwards from what the lots hold now, through what was taken and given back since. A hold takes when it is
# placed and gives back when it ends; its capture's entry only posts what it took before.
_LOTS_AS_OF: Final = text("""
WITH a AS (
    SELECT program_id, account_id FROM accounts
    WHERE program_id = :program_id AND owner_kind = :owner_kind AND owner = :owner AND asset = :asset
), held AS (
    SELECT h.* FROM holds h JOIN a USING (program_id, account_id) WHERE h.ended_at > :at
    UNION ALL
    SELECT h.* FROM holds h JOIN a USING (program_id, account_id) WHERE h.ended_at IS NULL
), since AS (
    SELECT lot_id, sum(amount)::bigint AS amount FROM (
        SELECT u.lot_id, u.amount FROM entries e JOIN a USING (program_id, account_id)
        JOIN lot_uses u ON u.program_id = e.program_id AND u.transaction_id = e.transaction_id
        WHERE e.recorded_at > :at AND e.kind <> :capture
        UNION ALL
        SELECT u.lot_id, u.amount FROM held h
        JOIN lot_uses u ON u.program_id = h.program_id AND u.transaction_id = h.hold_id
        WHERE u.amount < 0 OR h.placed_at > :at
    ) used GROUP BY lot_id
), known AS (
    SELECT l.lot_id FROM lots l JOIN a USING (program_id, account_id) WHERE l.open
    UNION
    SELECT lot_id FROM since
)
SELECT l.lot_id, l.earned_at, l.expires_at, l.original, l.remaining + coalesce(since.amount, 0) AS remaining
FROM known JOIN a ON true
JOIN lots l ON l.program_id = a.program_id AND l.account_id = a.account_id AND l.lot_id = known.lot_id
LEFT JOIN since ON since.lot_id = l.lot_id
WHERE coalesce(l.received_at, l.earned_at) <= :at AND l.remaining + coalesce(since.amount, 0) > 0
ORDER BY l.expires_at NULLS LAST, l.earned_at, l.lot_id
""")

_STATEMENT: Final = text("""
SELECT opening.balance_after AS opening, closing.balance_after AS closing, moved.kind, moved.category, moved.points
FROM accounts a
LEFT JOIN LATERAL (
    SELECT e.balance_after FROM entries e
    WHERE e.program_id = a.program_id AND e.account_id = a.account_id AND e.recorded_at < :start
    ORDER BY e.recorded_at DESC LIMIT 1
) opening ON true
LEFT JOIN LATERAL (
    SELECT e.balance_after FROM entries e
    WHERE e.program_id = a.program_id AND e.account_id = a.account_id AND e.recorded_at < :end
    ORDER BY e.recorded_at DESC LIMIT 1
) closing ON true
LEFT JOIN LATERAL (
    SELECT e.kind, e.category, sum(e.amount)::bigint AS points FROM entries e
    WHERE e.program_id = a.program_id AND e.account_id = a.account_id
        AND e.recorded_at >= :start AND e.recorded_at < :end
    GROUP BY e.kind, e.category, e.amount > 0
) moved ON true
WHERE a.program_id = :program_id AND a.owner_kind = :owner_kind AND a.owner = :owner AND a.asset = :asset
""")


def _of(statement: TextClause, key: Key, **parameters: object) -> TextClause:
    names = {"program_id": key.program_id, "owner_kind": int(key.owner_kind), "owner": key.owner, "asset": key.asset}
    return statement.bindparams(**names, **parameters)


async def standing(tx: Tx, key: Key, now: datetime) -> Standing:
    """What the account holds now. Not `standing_as_of(now)`, which leaves out what another process's clock, a
    little ahead of ours, has recorded and its caller has been told of."""
    row = (await tx.execute(_of(_NOW, key, at=now))).one_or_none()
    return _NOTHING if row is None else Standing(row.balance, row.held)


async def standing_as_of(tx: Tx, key: Key, at: datetime) -> Standing:
    """What the account held at a past instant, as a read at that instant would have shown it."""
    row = (await tx.execute(_of(_AS_OF, key, at=at, expire=int(Kind.EXPIRE)))).one_or_none()
    return _NOTHING if row is None else Standing(row.balance, row.held)


async def lots_as_of(tx: Tx, key: Key, at: datetime) -> list[Lot]:
    """The lots that had points at `at`, in burn order, less what holds had taken out of them by then."""
    found = await tx.execute(_of(_LOTS_AS_OF, key, at=at, capture=int(Kind.CAPTURE)))
    return [Lot(row.lot_id, row.earned_at, row.expires_at, row.original, row.remaining) for row in found]


async def expiry_schedule(tx: Tx, key: Key, now: datetime) -> list[tuple[datetime, int]]:
    """When points run out after `now` and how many, the next first."""
    statement = (
        select(lots.c.expires_at, func.sum(lots.c.remaining))
        .join(accounts, (accounts.c.program_id == lots.c.program_id) & (accounts.c.account_id == lots.c.account_id))
        .where(*_owned_by(key), lots.c.open, lots.c.expires_at > now)
        .group_by(lots.c.expires_at)
        .order_by(lots.c.expires_at)
    )
    return [(expires_at, int(points)) for expires_at, points in await tx.execute(statement)]


async def statement(tx: Tx, key: Key, period: Period) -> Statement:
    """What moved in a period, by the instants at which it was recorded."""
    found = (await tx.execute(_of(_STATEMENT, key, start=period.start, end=period.end))).all()
    if not found:
        return Statement(0, [], 0)
    moved = [Movement(Kind(row.kind), Category(row.category), row.points) for row in found if row.kind is not None]
    return Statement(found[0].opening or 0, moved, found[0].closing or 0)


async def held_as_of(tx: Tx, key: Key, at: datetime) -> int:
    """What was set aside by holds that were placed before `at` and had not ended before it."""
    ended = holds.c.ended_at.is_(None) | (holds.c.ended_at >= at)
    account = (holds.c.program_id == accounts.c.program_id) & (holds.c.account_id == accounts.c.account_id)
    held = select(func.coalesce(func.sum(holds.c.amount), 0)).join(accounts, account)
    return int(await tx.scalar(held.where(*_owned_by(key), holds.c.placed_at < at, ended)) or 0)


async def one_snapshot(tx: Tx) -> None:
    """Makes what is read from here on one instant, however many statements read it."""
    await tx.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))


async def history(tx: Tx, key: Key, period: Period, kinds: Sequence[int], limit: int) -> list[Entry]:
    """Entries of an account in a period, newest first; of these kinds, or of all."""
    return [entry_of(row) for row in await tx.execute(_history(key, period, kinds, limit))]


def _history(key: Key, period: Period, kinds: Sequence[int], limit: int) -> Select[Any]:
    # Not a join: of one account, entries are in the order of their key, and the page is read off it.
    account = select(accounts.c.account_id).where(*_owned_by(key)).scalar_subquery()
    found = (
        select(entries)
        .where(entries.c.program_id == key.program_id, entries.c.account_id == account)
        .where(entries.c.recorded_at >= period.start, entries.c.recorded_at < period.end)
        .order_by(entries.c.recorded_at.desc())
        .limit(limit)
    )
    return found.where(entries.c.kind.in_(kinds)) if kinds else found


def _owned_by(key: Key) -> tuple[ColumnElement[bool], ...]:
    return (
        accounts.c.program_id == key.program_id,
        accounts.c.owner_kind == key.owner_kind,
        accounts.c.owner == key.owner,
        accounts.c.asset == key.asset,
    )
