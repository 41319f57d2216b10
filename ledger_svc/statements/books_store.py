"""SQL that sums up a program's journal, some accounts at a time: a program may be too large for one statement.

Whatever it sums is append-only and was recorded before the period's end, so what is posted meanwhile does not matter.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import RowMapping, text

from ledger_svc.journal.values import Kind, Owner
from ledger_svc.statements.rules import Period
from svckit.db import Tx


class Part(NamedTuple):
    """The accounts whose ids are over `after` and up to `last`; `more` if there are others behind."""

    after: int
    last: int
    more: bool


# Every account's id is over it.
BEFORE_ALL: Final = -1

_PART: Final = text("""
SELECT coalesce(max(account_id), :after) AS last, count(*) AS accounts FROM (
    SELECT account_id FROM accounts WHERE program_id = :program_id AND account_id > :after
    ORDER BY account_id LIMIT :size
) part
""")

_POSTINGS: Final = text("""
SELECT a.owner_kind = :funding AS funding, a.asset, e.kind, coalesce(h.partner, false) AS partner,
    sum(e.amount)::bigint AS amount
FROM entries e JOIN accounts a ON a.program_id = e.program_id AND a.account_id = e.account_id
LEFT JOIN holds h ON e.kind = :capture AND h.program_id = e.program_id AND h.hold_id = e.transaction_id
WHERE e.program_id = :program_id AND e.account_id > :after AND e.account_id <= :last
    AND e.recorded_at >= :start AND e.recorded_at < :end
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
""")

# What a hold has frozen counts once it is captured: only then is there an entry of its name. A transfer has two, of
# which the one of the lot's own account is meant.
_LOTS: Final = text("""
WITH known AS (
    SELECT a.asset, l.account_id, l.lot_id, l.original, l.received_at,
        to_char(l.earned_at AT TIME ZONE :zone, 'YYYY-MM') AS month
    FROM lots l JOIN accounts a ON a.program_id = l.program_id AND a.account_id = l.account_id
    WHERE l.program_id = :program_id AND l.account_id > :after AND l.account_id <= :last
        AND coalesce(l.received_at, l.earned_at) < :at
), moved AS (
    SELECT k.asset, k.month, 0 AS issued, 0 AS came, u.amount AS gone,
        CASE WHEN e.kind IN (:redeem, :capture) OR (e.kind = :reverse AND e.amount > 0) THEN u.amount END AS redeemed,
        CASE WHEN e.kind = :expire THEN u.amount END AS expired
    FROM entries e JOIN lot_uses u ON u.program_id = e.program_id AND u.transaction_id = e.transaction_id
    JOIN known k ON k.account_id = e.account_id AND k.lot_id = u.lot_id
    WHERE e.program_id = :program_id AND e.account_id > :after AND e.account_id <= :last AND e.recorded_at < :at
    UNION ALL
    SELECT asset, month, CASE WHEN received_at IS NULL THEN original ELSE 0 END, original, 0, 0, 0 FROM known
)
SELECT asset, month, sum(issued)::bigint AS issued, coalesce(sum(redeemed), 0)::bigint AS redeemed,
    coalesce(sum(expired), 0)::bigint AS expired, (sum(came) - sum(gone))::bigint AS outstanding
FROM moved GROUP BY asset, month ORDER BY asset, month
""")


_OWED: Final = text("""
SELECT a.asset, sum(greatest(held.amount - coalesce(last.balance_after, 0), 0))::bigint AS points FROM accounts a
LEFT JOIN LATERAL (
    SELECT e.balance_after FROM entries e
    WHERE e.program_id = a.program_id AND e.account_id = a.account_id AND e.recorded_at < :at
    ORDER BY e.recorded_at DESC LIMIT 1
) last ON true
CROSS JOIN LATERAL (
    SELECT coalesce(sum(h.amount), 0) AS amount FROM holds h
    WHERE h.program_id = a.program_id AND h.account_id = a.account_id AND h.placed_at < :at
        AND (h.ended_at IS NULL OR h.ended_at >= :at)
) held
WHERE a.program_id = :program_id AND a.account_id > :after AND a.account_id <= :last AND a.owner_kind = :member
GROUP BY a.asset HAVING sum(greatest(held.amount - coalesce(last.balance_after, 0), 0)) > 0 ORDER BY a.asset
""")


async def part(tx: Tx, program_id: str, after: int, size: int) -> Part:
    """The next `size` accounts from the one after `after`."""
    row = (await tx.execute(_PART, {"program_id": program_id, "after": after, "size": size})).one()
    return Part(after, row.last, row.accounts == size)


async def postings(tx: Tx, program_id: str, period: Period, of: Part) -> Sequence[RowMapping]:
    """Rows of funding or not, asset, kind, by a partner or not, and the signed amount."""
    words = {"funding": int(Owner.FUNDING), "capture": int(Kind.CAPTURE)}
    asked = {"program_id": program_id, "start": period.start, "end": period.end, "after": of.after, "last": of.last}
    return (await tx.execute(_POSTINGS, {**words, **asked})).mappings().all()


async def vintages(tx: Tx, program_id: str, at: datetime, zone: str, of: Part) -> Sequence[RowMapping]:
    """Rows of asset, month, and what became of the points that were earned then, until `at`."""
    words = {kind.name.lower(): int(kind) for kind in (Kind.REDEEM, Kind.CAPTURE, Kind.REVERSE, Kind.EXPIRE)}
    asked = {"program_id": program_id, "at": at, "zone": zone, "after": of.after, "last": of.last}
    return (await tx.execute(_LOTS, {**words, **asked})).mappings().all()


async def owed(tx: Tx, program_id: str, at: datetime, of: Part) -> Sequence[RowMapping]:
    """Rows of asset, and how many points of it members owed at `at`."""
    asked = {"program_id": program_id, "at": at, "after": of.after, "last": of.last}
    return (await tx.execute(_OWED, {"member": int(Owner.MEMBER), **asked})).mappings().all()
