"""What a report covers, what of a liability will not be redeemed, and how near a sum is to a threshold. Pure."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

# Whatever is recorded is there for sure after so long: calls are over by then, and clocks agree better than that.
SETTLED_AFTER: Final = timedelta(minutes=1)
FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE: Final = 10_000


class Period(NamedTuple):
    """What was recorded from `start` on and before `end`."""

    start: datetime
    end: datetime


def closed(start: datetime | None, end: datetime | None, now: datetime) -> Period:
    """The part of a period that nothing can be added to any more at `now`, which may be none of it."""
    settled = now - SETTLED_AFTER
    first = start or FIRST
    return Period(first, max(first, min(end or settled, settled)))


class Breakage(NamedTuple):
    """What a month's points come to by an estimate, in points."""

    expected: int
    recognised: int
    liability: int


def breakage(issued: int, redeemed: int, expired: int, outstanding: int, basis_points: int) -> Breakage:
    """What of a month's points will not be redeemed, if `basis_points` of the issued will not.

    It is recognised in proportion to what of the others was redeemed (ASC 606-10-55-48), and never less than what has
    run out by itself; what remains of the outstanding is owed.
    """
    expected = issued * basis_points // _WHOLE
    others = issued - expected
    recognised = min(expected, expected * max(0, redeemed) // others) if others else expected
    return Breakage(expected, recognised, max(0, outstanding - max(0, recognised - expired)))


class Threshold(NamedTuple):
    """The sum of a calendar year's payments to one payee from which they have to be reported, from a year on."""

    currency: str
    first_year: int
    amount_minor: int


# 1099-MISC and -NEC (26 U.S.C. 6041, as amended in 2025); indexed from 2027 on, by figures that come out each year.
THRESHOLDS: Final = (Threshold("USD", 1970, 600_00), Threshold("USD", 2026, 2_000_00))


class Mark(StrEnum):
    """How near a sum is to its threshold."""

    BELOW = "BELOW"
    NEAR = "NEAR"
    REACHED = "REACHED"


def threshold(currency: str, year: int) -> int:
    """The threshold of a year in minor units; 0 if none is known."""
    known = [one for one in THRESHOLDS if one.currency == currency and one.first_year <= year]
    return max(known, key=lambda one: one.first_year).amount_minor if known else 0


def mark(value_minor: int, threshold_minor: int) -> Mark:
    """How near a sum is: from four fifths on it is time to ask the payee for what a report needs."""
    if not threshold_minor or value_minor * 5 < threshold_minor * 4:
        return Mark.BELOW
    return Mark.NEAR if value_minor < threshold_minor else Mark.REACHED
