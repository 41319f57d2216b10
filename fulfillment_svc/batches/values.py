"""A batch and its items as values."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from fulfillment_svc.codes import Sealed
from svckit.errors import Refused

ITEMS_MAX: Final = 10_000


class State(StrEnum):
    """How far a batch has come; the names of the proto's enum."""

    OPEN = "OPEN"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"


class ItemState(StrEnum):
    """What became of an item; the names of the proto's enum."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch in figures, as stored. Its instants are of the program's time. `attempts` counts the tries since an item
    was decided, and `fencing_token` the claims of workers."""

    program_id: str
    batch_id: UUID
    created_at: datetime
    state: State = State.OPEN
    size: int = 0
    succeeded: int = 0
    failed: int = 0
    committed_at: datetime | None = None
    completed_at: datetime | None = None
    traceparent: str = ""
    attempts: int = 0
    fencing_token: int = 0


class Wanted(NamedTuple):
    """An item that somebody appends: its key, the fingerprint of its order's request, and that request as bytes."""

    key: str
    fingerprint: bytes
    request: bytes


@dataclass(frozen=True, slots=True)
class Item:
    """An item as stored; `number` counts from 1, and `sealed` is its order's request. `round` counts the commits that
    have taken it up and `attempts` the tries of this one. `refusal` is the `google.rpc.Status` that a single call would
    have got, for `reason`."""

    number: int
    key: str
    sealed: Sealed = field(repr=False)
    state: ItemState = ItemState.PENDING
    round: int = 0
    attempts: int = 0
    order_id: UUID | None = None
    reason: str = ""
    refusal: bytes | None = None


class Needed(NamedTuple):
    """What an item takes of the funding."""

    item: Item
    currency: str
    value_minor: int
    fee_minor: int


@dataclass(frozen=True, slots=True)
class Shortage:
    """What items need in one currency, and what there is for it. `at` is the first one for which it does not last."""

    currency: str
    available_minor: int
    needed_minor: int = 0
    fees_minor: int = 0
    at: Item | None = None

    @property
    def short_by_minor(self) -> int:
        """How much is missing; 0 if nothing is."""
        return max(0, self.needed_minor - self.available_minor)


class Findings(NamedTuple):
    """What a check has found: how many items there were, those that would be refused, and what the others need."""

    checked: int
    refused: Sequence[tuple[Item, Refused]]
    funding: Sequence[Shortage]
