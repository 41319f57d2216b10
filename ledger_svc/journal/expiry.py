"""When points run out, by a program's policy. Pure; dates are the program's zone's, and days are local ones (G27)."""

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta

from rewards.identity.v1.programs_pb2 import Policy

from svckit.programs import Program


def expires_at(program: Program, earned_at: datetime) -> datetime | None:
    """The exclusive instant at which points earned at `earned_at` run out; None for never (G3).

    It is the midnight at the end of a local day, so on a day of 23 or 25 hours it is where that day ends.
    """
    day = earned_at.astimezone(program.zone).date()
    count = program.policy.expiry_count
    match program.policy.expiry:
        case Policy.DAYS:
            last = day + timedelta(days=count)
        case Policy.MONTHS:
            last = _months_later(day, count)
        case Policy.END_OF_MONTH:
            last = day.replace(day=monthrange(day.year, day.month)[1])
        case Policy.END_OF_YEAR:
            last = day.replace(month=12, day=31)
        case _:
            return None
    return datetime.combine(last + timedelta(days=1), time(), program.zone).astimezone(UTC)


def _months_later(day: date, count: int) -> date:
    """The same day of a later month, or that month's last day where it has none."""
    years, month = divmod(day.month - 1 + count, 12)
    year = day.year + years
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
