"""Values as people read them. Pure."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from svckit import money


def amount(minor: int, currency: str) -> str:
    """An amount of minor units, with all its decimals: "1,250.00 USD"."""
    return f"{money.major(minor, currency):,.{money.exponent(currency)}f} {currency}"


def day(end: datetime, zone: ZoneInfo) -> str:
    """Until when something is good: the last day in `zone`, and the hour where that is not the day's end."""
    last = (end - timedelta(seconds=1)).astimezone(zone)
    text = f"{last.day} {last:%B %Y}"
    return text if f"{last:%H:%M}" == "23:59" else f"{text}, {end.astimezone(zone):%H:%M} ({zone.key})"
