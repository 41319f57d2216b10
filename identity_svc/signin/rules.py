"""What one-time codes and sign-ins may be. Pure (G47)."""

import enum
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Final
from uuid import UUID

from identity_svc.members.rules import Status
from identity_svc.pepper import mac
from svckit.errors import Reason, Refused

CODE_DIGITS: Final = 6
CODE_LIFE: Final = timedelta(minutes=10)
TRIES_MAX: Final = 5
MEMBER_TOKEN_LIFE: Final = timedelta(minutes=15)


class Purpose(enum.StrEnum):
    """What a code is good for; the value is what the mail says."""

    SIGN_IN = "sign in"
    REDEEM = "confirm a redemption"
    TRANSFER = "confirm a transfer"
    CHANGE_PROFILE = "change your profile"


@dataclass(frozen=True, slots=True)
class Allowance:
    """How often something may be done: by the hour, by the day, and (0: no bound) without a success in between."""

    kind: str
    per_hour: int
    per_day: int
    in_a_row: int = 0


# Ten codes a day with five tries each guess one of a million at most: 5 in 100,000 a day.
SENDS: Final = Allowance("sends", 5, 10)
GUESSES: Final = Allowance("guesses", 5, 50, in_a_row=100)
PASSWORDS: Final = Allowance("passwords", 10, 50, in_a_row=100)


class Verdict(enum.Enum):
    """What became of a try."""

    RIGHT = enum.auto()
    WRONG = enum.auto()
    EXPIRED = enum.auto()
    LOCKED = enum.auto()


@dataclass(frozen=True, slots=True)
class Code:
    """A one-time code as it is kept. `member_id` may be of nobody (`void`): such a code is never right."""

    program_id: str
    otp_id: UUID
    member_id: str
    code_mac: bytes
    void: bool
    expires_at: datetime


def new_code() -> str:
    """A code; it may begin with zeros."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"


def code_mac(key: bytes, program_id: str, otp_id: UUID, purpose: Purpose, code: str) -> bytes:
    """What is kept of a code. Of one program, one challenge and one purpose: for another it is wrong."""
    return mac(key, program_id, str(otp_id), purpose.name, code)


def is_right(code: Code, sent: bytes) -> bool:
    """Whether what was sent is the code, in the same time whatever it is."""
    return compare_digest(code.code_mac, sent) and not code.void


def check_may_sign_in(status: Status) -> None:
    """Raises MEMBER_NOT_ACTIVE."""
    if not status.signs_in:
        raise Refused(Reason.MEMBER_NOT_ACTIVE, "The member's status does not allow to sign in.")


def check(verdict: Verdict, retry_after_s: int) -> None:
    """Raises what a verdict that is not RIGHT means."""
    match verdict:
        case Verdict.WRONG:
            raise Refused(Reason.OTP_INVALID, "The code is wrong or was used.")
        case Verdict.EXPIRED:
            raise Refused(Reason.OTP_EXPIRED, "The code has run out.")
        case Verdict.LOCKED:
            raise Refused(Reason.OTP_LOCKED, "Too many tries.", retry_after_s=retry_after_s)
        case _:
            return
