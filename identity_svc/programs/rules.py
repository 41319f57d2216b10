"""What a program's settings may be, and how they may change."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import available_timezones

from svckit.errors import invalid

SANDBOX: Final = "SANDBOX"
# Far enough for any expiry or streak to be tried, near enough for every date to stay a date.
CLOCK_OFFSET_MAX_S: Final = 50 * 366 * 24 * 3600
_TIME_ZONES: Final = available_timezones()


@dataclass(frozen=True, slots=True)
class Program:
    """A tenant's settings. `points_per_unit` is the price of one major unit of `currency` in points.

    `policy` is a serialized `rewards.identity.v1.Policy`, which the ledger, the room of members and fulfillment_svc's
    compliance read; `branding`, a serialized `Branding`, is set apart from the rest.
    """

    program_id: str
    name: str
    mode: str
    time_zone: str
    currency: str
    asset: str
    points_per_unit: int
    clock_offset_s: int
    policy: bytes = b""
    branding: bytes = b""
    version: int = 1

    @property
    def sandbox(self) -> bool:
        """True if no real value moves here."""
        return self.mode == SANDBOX

    def at(self, now: datetime) -> datetime:
        """The program's time when it is `now`: the same, or moved where a sandbox has moved it."""
        return now + timedelta(seconds=self.clock_offset_s)


def check(program: Program) -> None:
    """Raises INVALID_REQUEST for a time zone that is no IANA name (G27), and for a clock that may not move."""
    if program.time_zone not in _TIME_ZONES:
        raise invalid(**{"program.timeZone": "is not an IANA time zone"})
    if program.clock_offset_s and not program.sandbox:
        raise invalid(**{"program.clockOffsetS": "is for sandbox programs only"})
    if abs(program.clock_offset_s) > CLOCK_OFFSET_MAX_S:
        raise invalid(**{"program.clockOffsetS": "is more than 50 years"})


def revise(stored: Program, wanted: Program) -> Program:
    """The program as `wanted`, in its own branding and one version on, or as `stored` if nothing changes.

    Raises INVALID_REQUEST if the mode would change: keys, tokens and ids carry it (G50).
    """
    if wanted.mode != stored.mode:
        raise invalid(**{"program.mode": "never changes"})
    return _later(stored, replace(wanted, branding=stored.branding))


def rebrand(stored: Program, branding: bytes) -> Program:
    """The program in another branding, one version on, or as `stored` if it has that one."""
    return _later(stored, replace(stored, branding=branding))


def _later(stored: Program, wanted: Program) -> Program:
    same = replace(wanted, version=stored.version)
    return stored if same == stored else replace(wanted, version=stored.version + 1)
