"""What an event looks like on the wire, and when a delivery is tried again. Pure values and functions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

# Before each attempt, counted from the one before: 75 hours in all, as Standard Webhooks has it.
SCHEDULE: Final = tuple(
    timedelta(seconds=wait_s) for wait_s in (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
# Longer by up to this part, so that what failed together is not tried again together.
JITTER: Final = 0.1
PAUSE_MAX: Final = timedelta(days=1)

_GONE: Final = 410
_PAUSING: Final = frozenset({429, 503})


class Status(StrEnum):
    """What became of a delivery."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt. `http_status` is 0 if there was no answer; `retry_after` is as asked for."""

    http_status: int = 0
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt makes of its delivery, and of its endpoint.

    `due_at` is the next attempt's time; None if there is none. `quiet_until` is set where the endpoint asked
    for a pause, which then holds for all of its deliveries.
    """

    status: Status
    due_at: datetime | None = None
    quiet_until: datetime | None = None
    disables: bool = False


def judge(answer: Answer, attempts: int, at: datetime, chance: float) -> Verdict:
    """What the `attempts`-th attempt (from 1), which ended at `at`, makes of its delivery.

    2xx is success; 410 says that nobody is there any more; all else, redirects included, is tried again by
    SCHEDULE and fails for good after its last. `chance` is in [0, 1).
    """
    if 200 <= answer.http_status < 300:  # noqa: PLR2004 - the class of success of RFC 9110
        return Verdict(Status.DELIVERED)
    if answer.http_status == _GONE:
        return Verdict(Status.FAILED, disables=True)
    pause = _pause(answer)
    quiet_until = at + pause if pause else None
    if attempts >= len(SCHEDULE):
        return Verdict(Status.FAILED, quiet_until=quiet_until)
    wait = SCHEDULE[attempts] * (1 + JITTER * chance)
    return Verdict(Status.PENDING, due_at=at + max(wait, pause), quiet_until=quiet_until)


def _pause(answer: Answer) -> timedelta:
    if answer.http_status not in _PAUSING or answer.retry_after is None:
        return timedelta(0)
    return max(timedelta(0), min(answer.retry_after, PAUSE_MAX))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a program wants its events. Without `event_types` it gets all of them."""

    program_id: str
    endpoint_id: UUID
    url: str
    event_types: tuple[str, ...]
    sealed_secret: bytes


def subscribed(event_types: Sequence[str], event_type: str) -> bool:
    """True if an endpoint for these types, or for all if there are none, gets this type."""
    return not event_types or event_type in event_types


@dataclass(frozen=True, slots=True)
class Event:
    """Something that became true. `created_at` is UTC; `data_json` is a JSON object."""

    event_id: UUID
    type: str
    created_at: datetime
    program_id: str
    live: bool
    member_id: str
    data_json: str


def is_object(text: str) -> bool:
    """True for the text of a JSON object, by the letter of RFC 8259."""
    try:
        return isinstance(json.loads(text, parse_constant=_refuse_constant), dict)
    except ValueError:
        return False


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def payload(event: Event, sequence: int) -> bytes:
    """The bytes that are signed and sent. `data_json` stands in them untouched, so no number changes."""
    head = {
        "id": str(event.event_id),
        "type": event.type,
        "createdAt": event.created_at.isoformat().replace("+00:00", "Z"),
        "programId": event.program_id,
        "livemode": event.live,
        "memberId": event.member_id or None,
        "sequence": sequence,
    }
    rendered = json.dumps(head, separators=(",", ":"), ensure_ascii=False)
    return f'{rendered[:-1]},"data":{event.data_json}}}'.encode()
