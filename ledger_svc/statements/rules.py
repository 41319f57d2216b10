"""How movements are grouped in statements. Pure: every movement is in exactly one line and one category."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from ledger_svc.journal.values import Category, Kind


class Period(NamedTuple):
    """What was recorded from `start` on and before `end`: half-open, so that periods that follow each other add up."""

    start: datetime
    end: datetime

    def before(self, place: datetime) -> "Period":
        """The part of it that is before `place`."""
        return Period(self.start, min(self.end, place))


class Line(StrEnum):
    """A line of a statement's summary; the values are the fields of `GetStatementSummaryResponse`."""

    EARNED = "earned"
    REDEEMED = "redeemed"
    REVERSED = "reversed"
    EXPIRED = "expired"
    ADJUSTED = "adjusted"
    TRANSFERRED_IN = "transferred_in"
    TRANSFERRED_OUT = "transferred_out"


class Movement(NamedTuple):
    """The sum of a period's entries of one kind, category and sign."""

    kind: Kind
    category: Category
    points: int


class Statement(NamedTuple):
    """A period: posted points before and after it, and what moved between."""

    opening: int
    movements: list[Movement]
    closing: int


_LINES: Final = {
    Kind.EARN: Line.EARNED,
    Kind.FUND: Line.EARNED,
    Kind.REDEEM: Line.REDEEMED,
    Kind.CAPTURE: Line.REDEEMED,
    Kind.SETTLE: Line.REDEEMED,
    Kind.FEE: Line.REDEEMED,
    Kind.REVERSE: Line.REVERSED,
    Kind.EXPIRE: Line.EXPIRED,
    Kind.ADJUST: Line.ADJUSTED,
}


class FundingLine(StrEnum):
    """A line of a funding statement; the values are the fields of `GetFundingStatementResponse`."""

    DEPOSIT = "deposits"
    SPENT = "spent"
    FEE = "fees"


FUNDING_LINES: Final = {
    Kind.FUND: FundingLine.DEPOSIT,
    Kind.SETTLE: FundingLine.SPENT,
    Kind.FEE: FundingLine.FEE,
}


def funding_lines(movements: Iterable[Movement]) -> dict[FundingLine, int]:
    """Every line of a funding statement with its sum."""
    sums = dict.fromkeys(FundingLine, 0)
    for movement in movements:
        sums[FUNDING_LINES[movement.kind]] += movement.points
    return sums


def line(movement: Movement) -> Line:
    """The line that a movement belongs to; a transfer's sign says which way it went."""
    if movement.kind is Kind.TRANSFER:
        return Line.TRANSFERRED_IN if movement.points > 0 else Line.TRANSFERRED_OUT
    return _LINES[movement.kind]


def lines(movements: Iterable[Movement]) -> dict[Line, int]:
    """Every line with its sum."""
    sums = dict.fromkeys(Line, 0)
    for movement in movements:
        sums[line(movement)] += movement.points
    return sums


def categories(movements: Iterable[Movement]) -> dict[Category, int]:
    """Every category with its sum."""
    sums = dict.fromkeys(Category, 0)
    for movement in movements:
        sums[movement.category] += movement.points
    return sums
