"""What a program allows, and when points run out by it: the oracle's calendar. Shares no code with the ledger."""

from calendar import monthrange
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cache
from zoneinfo import ZoneInfo


@dataclass
class Policy:
    """A program's settings; `rates` are points for one major unit, and the type of event they are for ("" is any)."""

    zone: str
    expiry: str = "NEVER"
    count: int = 0
    write_off: bool = False
    transfer_max: int = 0
    adjust_alone_max: int = 0
    points_per_unit: int = 80
    assets: tuple[str, ...] = ("PTS", "STARS")
    rates: list[tuple[str, Fraction]] = field(default_factory=list)

    def runs_out(self, earned_at: datetime) -> datetime | None:
        """When points earned at an instant run out (G3, G27)."""
        day = earned_at.astimezone(ZoneInfo(self.zone)).date()
        if self.expiry == "DAYS":
            day += timedelta(days=self.count)
        elif self.expiry == "MONTHS":
            for _ in range(self.count):
                year, month = (day.year, day.month + 1) if day.month < 12 else (day.year + 1, 1)
                day = date(year, month, 1)
            wanted = earned_at.astimezone(ZoneInfo(self.zone)).day
            day = day.replace(day=min(wanted, monthrange(day.year, day.month)[1]))
        elif self.expiry == "END_OF_MONTH":
            day = day.replace(day=monthrange(day.year, day.month)[1])
        elif self.expiry == "END_OF_YEAR":
            day = date(day.year, 12, 31)
        else:
            return None
        return end_of(day, self.zone)

    def earns(self, event_type: str, amount: Fraction | None) -> int:
        """What an event of so many major units of the program's currency earns: each rate's part floored (G21)."""
        if amount is None:
            return 0
        return sum(amount * rate // 1 for of, rate in self.rates if of in {"", event_type})


@cache
def end_of(day: date, zone: str) -> datetime:
    """The first second at which it is no longer `day` in `zone`, found by looking at the clock on the wall."""
    before = datetime(day.year, day.month, day.day, 12, tzinfo=UTC) - timedelta(days=1)
    low, high = 0, 3 * 24 * 3600
    while high - low > 1:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(ZoneInfo(zone)).date() > day:
            high = middle
        else:
            low = middle
    return before + timedelta(seconds=high)
