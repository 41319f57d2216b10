"""Protobuf to values and back, for what is read."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from rewards.ledger.v1 import books_pb2, funding_pb2
from rewards.ledger.v1 import points_pb2 as pb

from ledger_svc.journal.values import Category, Entry, Kind, Lot, Order
from ledger_svc.journal.wire import instant, timestamp
from ledger_svc.statements.rules import FUNDING_LINES, FundingLine, Line, Period, Statement
from svckit import money, paging
from svckit.errors import invalid

_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST: Final = datetime(9999, 1, 1, tzinfo=UTC)
PeriodRequest = (
    pb.GetTransactionHistoryRequest
    | pb.GetStatementSummaryRequest
    | pb.GetStatementByCategoryRequest
    | funding_pb2.GetFundingStatementRequest
    | books_pb2.SumPostingsRequest
)


def period(request: PeriodRequest) -> Period:
    """A request's period; what is unset is open. Raises INVALID_REQUEST if it ends before it starts."""
    start = instant(request.from_time, "from") if request.HasField("from_time") else _FIRST
    end = instant(request.to_time, "to") if request.HasField("to_time") else LAST
    if end < start:
        raise invalid(to="is before from")
    return Period(start, end)


def as_of(request: pb.GetBalanceRequest | pb.GetLotsRequest, now: datetime) -> datetime | None:
    """The past instant that is asked for; None for now. Raises INVALID_REQUEST for one to come."""
    if not request.HasField("as_of"):
        return None
    at = instant(request.as_of, "asOf")
    if at > now:
        raise invalid(asOf="is still to come")
    return at


def place(text: str) -> datetime:
    """The place in a page token of the history. Raises INVALID_REQUEST if somebody else made it."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid(pageToken="is not a token of this list") from None


def summary(opening: int, lines: dict[Line, int], closing: int) -> pb.GetStatementSummaryResponse:
    """A statement's answer: its fields are named as the lines are."""
    named = {line.value: points for line, points in lines.items()}
    return pb.GetStatementSummaryResponse(opening=opening, closing=closing, **named)


def funding_statement(
    currency: str, found: Statement, lines: dict[FundingLine, int], reserved: int, rows: Sequence[Entry], more: str
) -> funding_pb2.GetFundingStatementResponse:
    """A funding statement's answer: its fields are named as the lines are."""
    return funding_pb2.GetFundingStatementResponse(
        currency=currency,
        opening=money.major(found.opening, currency),
        closing=money.major(found.closing, currency),
        reserved=money.major(reserved, currency),
        rows=[_funding_movement(entry, currency) for entry in rows],
        next_page_token=more,
        **{line.value: money.major(sum_minor, currency) for line, sum_minor in lines.items()},
    )


def _funding_movement(entry: Entry, currency: str) -> funding_pb2.FundingMovement:
    return funding_pb2.FundingMovement(
        transaction_id=str(entry.transaction_id),
        line=funding_pb2.FundingMovement.Line.Value(FUNDING_LINES[entry.kind].name),
        amount=money.major(entry.amount, currency),
        balance_after=money.major(entry.balance_after, currency),
        recorded_at=timestamp(entry.recorded_at),
        charged_on=entry.reason if entry.kind is Kind.FEE else "",
    )


def by_category(rows: dict[Category, int]) -> pb.GetStatementByCategoryResponse:
    """The rows of a statement by category."""
    return pb.GetStatementByCategoryResponse(
        rows=[pb.CategoryRow(category=pb.Category.ValueType(c), points=points) for c, points in rows.items()]
    )


def schedule(rows: list[tuple[datetime, int]]) -> pb.GetExpiryScheduleResponse:
    """The rows of an expiry schedule."""
    return pb.GetExpiryScheduleResponse(
        rows=[pb.ExpiryRow(expires_at=timestamp(at), points=points) for at, points in rows]
    )


def lot(of: Lot) -> pb.Lot:
    """A lot as it leaves the process."""
    return pb.Lot(
        lot_id=str(of.lot_id),
        earned_at=timestamp(of.earned_at),
        expires_at=None if of.expires_at is None else timestamp(of.expires_at),
        points=of.original,
        remaining=of.remaining,
    )


def place_of(lot: Lot) -> tuple[str, str, str]:
    """A lot's place in burn order, for a page token."""
    return (lot.expires_at.isoformat() if lot.expires_at else "", lot.earned_at.isoformat(), str(lot.lot_id))


def lot_place(request: pb.GetLotsRequest) -> Order | None:
    """The place that a page token names. Raises INVALID_REQUEST if somebody else made it."""
    found = paging.place(request, 3)
    if found is None:
        return None
    try:
        expires_at, earned_at = (datetime.fromisoformat(text).astimezone(UTC) if text else None for text in found[:2])
        return Lot(UUID(found[2]), earned_at or _FIRST, expires_at, 0, 0).order()
    except (ValueError, OverflowError):
        raise invalid(pageToken="is not a token of this list") from None
