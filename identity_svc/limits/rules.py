"""How a day's quota is handed out in parts. Pure."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

# A process that dies loses at most one part, and a quota is used up in about so many transactions.
PARTS: Final = 100


@dataclass(frozen=True, slots=True)
class Account:
    """What was handed out of a credential's quota on a UTC day, as it is found at `now`."""

    program_id: str
    credential_id: str
    day: date
    leased: int
    now: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """A part of a UTC day that is handed out, what is then left for others, and how long the day lasts."""

    day: date
    granted: int
    left: int
    lasts: timedelta


def lease(found: Account, quota: int, needed: int) -> tuple[Account, Lease]:
    """The account after, and what is handed out to somebody who needs so much: a hundredth of the quota or what is
    needed, if that is more, or all that is left; nothing if less is left than is needed.

    A transaction that has waited for another may have begun on the day before the account's, which then counts.
    """
    day = max(found.day, found.now.astimezone(UTC).date())
    leased = found.leased if found.day == day else 0
    free = max(quota - leased, 0)
    granted = 0 if free < needed else min(free, max(needed, -(-quota // PARTS)))
    lasts = datetime.combine(day + timedelta(days=1), time(), UTC) - found.now
    return replace(found, day=day, leased=leased + granted), Lease(day, granted, free - granted, lasts)
