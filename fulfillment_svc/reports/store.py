"""SQL of the reports. A page is a short statement that starts where the one before ended, along an index; a closed
period does not change, so all pages together are one instant, and no snapshot has to be kept open for a slow reader."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import RowMapping, TextClause, text

from fulfillment_svc.reports.rules import Period
from svckit.db import Tx

# What was issued of a redemption, and the fees on that: what is left of a division is with the first items.
_ISSUED: Final = """
CROSS JOIN LATERAL (
    SELECT count(*) AS items, coalesce(sum(
        r.fees_minor / r.quantity + CASE WHEN i.number <= r.fees_minor % r.quantity THEN 1 ELSE 0 END
    ), 0)::bigint AS fees_minor, coalesce(sum(
        r.points / r.quantity + CASE WHEN i.number <= r.points % r.quantity THEN 1 ELSE 0 END
    ), 0)::bigint AS points
    FROM redemption_items i
    WHERE i.program_id = r.program_id AND i.redemption_id = r.redemption_id AND i.issued
) issued"""
_SPENT_IN: Final = (
    """
FROM redemptions r"""
    + _ISSUED
    + """
WHERE r.program_id = :program_id AND r.funding_booked_at >= :start AND r.funding_booked_at < :end"""
)
_REDEEMED_IN: Final = (
    """
FROM redemptions r"""
    + _ISSUED
    + """
WHERE r.program_id = :program_id AND r.points_booked_at >= :start AND r.points_booked_at < :end"""
)

_SPENT: Final = text(
    """
SELECT r.redemption_id, r.funding_booked_at AS booked_at, r.funding_hold_id AS transaction_id, r.reward_id, r.brand,
    r.provider, r.currency, issued.items * r.denomination_minor AS value_minor, issued.fees_minor"""
    + _SPENT_IN
    + """
    AND (r.funding_booked_at, r.redemption_id) > (:at, :after)
ORDER BY r.funding_booked_at, r.redemption_id LIMIT :size"""
)
_SPENT_SUMS: Final = text(
    """
SELECT r.currency, coalesce(sum(issued.items * r.denomination_minor), 0)::bigint AS value_minor,
    coalesce(sum(issued.fees_minor), 0)::bigint AS fees_minor"""
    + _SPENT_IN
    + """
GROUP BY r.currency ORDER BY r.currency"""
)
_REDEEMED: Final = text(
    """
SELECT r.redemption_id, r.points_booked_at AS booked_at, r.points_hold_id AS transaction_id, r.member_id, r.reward_id,
    r.brand, issued.items, issued.points"""
    + _REDEEMED_IN
    + """
    AND (r.points_booked_at, r.redemption_id) > (:at, :after)
ORDER BY r.points_booked_at, r.redemption_id LIMIT :size"""
)
_REDEEMED_SUM: Final = text("SELECT coalesce(sum(issued.points), 0)::bigint AS points" + _REDEEMED_IN)


def _payees(payee: str, kind: str, of: str) -> TextClause:
    # Payees stand in the order of an index.
    return text(
        f"""
SELECT * FROM (
    SELECT {payee} AS payee, {kind} AS kind, extract(year FROM r.funding_booked_at AT TIME ZONE :zone)::bigint AS year,
        r.currency, count(*) AS payments, sum(issued.items * r.denomination_minor)::bigint AS value_minor
    {_SPENT_IN} AND {of} AND {payee} >= :payee
    GROUP BY 1, 2, 3, 4
) paid WHERE (payee, year, currency) > (:payee, :year, :currency) ORDER BY payee, year, currency LIMIT :size"""  # noqa: S608 - all parts are constants
    )


MEMBER: Final = "MEMBER"
_MEMBERS: Final = _payees("r.member_id", f"'{MEMBER}'", "r.order_id IS NULL")
_RECIPIENTS: Final = _payees(
    "r.payee", "CASE WHEN r.payee = r.order_id::text THEN 'ORDER' ELSE 'RECIPIENT' END", "r.order_id IS NOT NULL"
)


async def spent(
    tx: Tx, program_id: str, period: Period, after: tuple[datetime, UUID], size: int
) -> Sequence[RowMapping]:
    """At most `size` redemptions that the funding paid for, oldest first, from the one after `after`."""
    return await _page(tx, _SPENT, program_id, period, at=after[0], after=after[1], size=size)


async def spent_sums(tx: Tx, program_id: str, period: Period) -> Sequence[RowMapping]:
    """Face value and fees by currency."""
    return await _page(tx, _SPENT_SUMS, program_id, period)


async def redeemed(
    tx: Tx, program_id: str, period: Period, after: tuple[datetime, UUID], size: int
) -> Sequence[RowMapping]:
    """At most `size` redemptions that members paid for, oldest first, from the one after `after`."""
    return await _page(tx, _REDEEMED, program_id, period, at=after[0], after=after[1], size=size)


async def redeemed_sum(tx: Tx, program_id: str, period: Period) -> int:
    """All their points."""
    [row] = await _page(tx, _REDEEMED_SUM, program_id, period)
    return int(row["points"])


async def payees(
    tx: Tx, program_id: str, period: Period, zone: str, after: tuple[str, str, int, str], size: int
) -> Sequence[RowMapping]:
    """At most `size` sums by payee, calendar year and currency, in their order, members' first, from the one after
    `after`, which names the payee's kind as well."""
    kind, payee, year, currency = after
    found: list[RowMapping] = []
    for statement in (_MEMBERS, _RECIPIENTS) if kind == MEMBER else (_RECIPIENTS,):
        place = {"payee": payee, "year": year, "currency": currency}
        found += await _page(tx, statement, program_id, period, zone=zone, size=size - len(found), **place)
        payee, year, currency = "", 0, ""
    return found


async def _page(tx: Tx, statement: TextClause, program_id: str, period: Period, **more: object) -> Sequence[RowMapping]:
    of = {"program_id": program_id, "start": period.start, "end": period.end, **more}
    return (await tx.execute(statement, of)).mappings().all()
