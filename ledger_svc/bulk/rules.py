"""What a batch is, and what became of it. Pure."""

from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from ledger_svc.journal.values import Mode


class ItemStatus(IntEnum):
    """What became of an item; the numbers are `rewards.ledger.v1.BatchResult.Status`."""

    SUCCEEDED = 1
    FAILED = 2
    SKIPPED = 3


class Status(IntEnum):
    """What became of a batch; the numbers are `rewards.ledger.v1.GetBatchStatusResponse.Status`."""

    COMPLETED = 1
    STOPPED = 2
    FAILED = 3


class Kept(NamedTuple):
    """What is kept of an item. `refusal` is a Refusal as bytes; an answer is kept under the item's key only."""

    key: str
    status: ItemStatus
    replayed: bool
    refusal: bytes | None


class Found(NamedTuple):
    """An item, and the answer that its key keeps, as bytes, if it succeeded."""

    kept: Kept
    answer: bytes | None


class Batch(NamedTuple):
    """A batch and its items in their order."""

    program_id: str
    batch_id: UUID
    mode: Mode
    created_at: datetime
    items: Sequence[Kept]


class Tally(NamedTuple):
    """A batch in figures. `first_failed` is a place counted from 0."""

    mode: Mode
    created_at: datetime
    succeeded: int
    failed: int
    skipped: int
    first_failed: int | None

    @property
    def status(self) -> Status:
        """What became of the batch as a whole."""
        if self.mode is Mode.CONTINUE or not self.failed:
            return Status.COMPLETED
        return Status.STOPPED if self.mode is Mode.STOP_ON_ERROR else Status.FAILED

    @property
    def total(self) -> int:
        """How many items there are."""
        return self.succeeded + self.failed + self.skipped
