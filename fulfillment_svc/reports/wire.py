"""Rows to messages, and requests to periods and places."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from rewards.fulfillment.v1 import reports_pb2 as pb
from rewards.ledger.v1.books_pb2 import Vintage

from fulfillment_svc.redemptions.wire import timestamp
from fulfillment_svc.reports import rules
from fulfillment_svc.reports.rules import FIRST, Period
from fulfillment_svc.reports.store import MEMBER
from svckit import money
from svckit.errors import invalid
from svckit.programs import Program

Moment = tuple[datetime, UUID]
_NOBODY = UUID(int=0)


def period(request: Any, now: datetime) -> Period:
    """What of a request's period is closed at `now`. Raises INVALID_REQUEST if it ends before it starts."""
    start, end = (_instant(request, name) for name in ("from_time", "to_time"))
    if start is not None and end is not None and end < start:
        raise invalid(to="is before from")
    return rules.closed(start, end, now)


def moment(place: list[str] | None, start: datetime) -> Moment:
    """The row after which a page begins. Raises INVALID_REQUEST for a place that nobody here has named."""
    if place is None:
        return start, _NOBODY
    try:
        return datetime.fromisoformat(place[0]).astimezone(UTC), UUID(place[1])
    except (ValueError, OverflowError):
        raise invalid(pageToken="is not a token of this list") from None


def payee_place(place: list[str] | None) -> tuple[str, str, int, str]:
    """Likewise, of the report on payees."""
    if place is None:
        return MEMBER, "", 0, ""
    try:
        return place[0], place[1], int(place[2]), place[3]
    except ValueError:
        raise invalid(pageToken="is not a token of this list") from None


def spend(row: Any) -> pb.SpendRow:
    """What was paid for a redemption."""
    currency = row["currency"]
    return pb.SpendRow(
        recorded_at=timestamp(row["booked_at"]),
        transaction_id=str(row["transaction_id"]),
        redemption_id=str(row["redemption_id"]),
        reward_id=row["reward_id"],
        brand=row["brand"],
        provider=row["provider"],
        currency=currency,
        value=money.major(row["value_minor"], currency),
        fees=money.major(row["fees_minor"], currency),
    )


def redemption(row: Any, asset: str) -> pb.RedemptionRow:
    """What a member paid for a redemption."""
    return pb.RedemptionRow(
        recorded_at=timestamp(row["booked_at"]),
        transaction_id=str(row["transaction_id"]),
        redemption_id=str(row["redemption_id"]),
        member_id=row["member_id"],
        reward_id=row["reward_id"],
        brand=row["brand"],
        items=row["items"],
        asset=asset,
        points=row["points"],
    )


def liability(of: Vintage, program: Program, basis_points: int) -> pb.LiabilityRow:
    """What of a month's points is owed. Only the program's own asset has a rate, and so a value."""
    found = rules.breakage(of.issued, of.redeemed, of.expired, of.outstanding, basis_points)
    priced = of.asset == program.asset
    value_minor = found.liability * 10 ** money.exponent(program.currency) // program.points_per_unit if priced else 0
    return pb.LiabilityRow(
        asset=of.asset,
        vintage=of.month,
        issued=of.issued,
        redeemed=of.redeemed,
        expired=of.expired,
        other=of.issued - of.redeemed - of.expired - of.outstanding,
        outstanding=of.outstanding,
        breakage_expected=found.expected,
        breakage_recognised=found.recognised,
        liability=found.liability,
        value=money.major(value_minor, program.currency),
    )


def owed(asset: str, points: int) -> pb.LiabilityRow:
    """What members owe, which is so much less outstanding."""
    return pb.LiabilityRow(asset=asset, other=points, outstanding=-points)


def payee(row: Any) -> pb.PayeeRow:
    """What a payee got in a year."""
    currency, year = row["currency"], row["year"]
    threshold_minor = rules.threshold(currency, year)
    mark = rules.mark(row["value_minor"], threshold_minor)
    return pb.PayeeRow(
        payee=row["payee"],
        year=year,
        currency=currency,
        payments=row["payments"],
        value=money.major(row["value_minor"], currency),
        threshold=money.major(threshold_minor, currency),
        mark=pb.PayeeRow.Mark.Value(mark.value),
        kind=pb.PayeeRow.Kind.Value(row["kind"]),
    )


def reconciliation(row: Any, issued_minor: int | None, outcome: str) -> pb.ReconciliationRow:
    """A redemption that was paid for, with what its provider says; None where it says nothing."""
    currency = row["currency"]
    return pb.ReconciliationRow(
        recorded_at=timestamp(row["booked_at"]),
        redemption_id=str(row["redemption_id"]),
        provider=row["provider"],
        currency=currency,
        value=money.major(row["value_minor"], currency),
        provider_value=money.major(issued_minor or 0, currency),
        outcome=pb.ReconciliationRow.Outcome.Value(outcome),
    )


def _instant(request: Any, name: str) -> datetime | None:
    if not request.HasField(name):
        return None
    at: datetime = getattr(request, name).ToDatetime(tzinfo=UTC)
    return max(at, FIRST)
