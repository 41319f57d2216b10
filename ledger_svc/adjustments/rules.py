"""What an adjustment is and who may decide on it (G19). Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import Self
from uuid import UUID

from svckit.errors import Reason, Refused


class Status(IntEnum):
    """What became of an adjustment; the numbers are `rewards.ledger.v1.Adjustment.Status`."""

    PENDING = 1
    POSTED = 2
    REJECTED = 3


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A correction of `points` up or down. `alone_max` is what its credential could post alone when it asked."""

    program_id: str
    adjustment_id: UUID
    member_id: str
    asset: str
    points: int
    reason_code: str
    ticket: str
    note: str
    effective_at: datetime | None
    expires_at: datetime | None
    alone_max: int
    created_by: str
    created_at: datetime
    state: Status = Status.PENDING
    decided_by: str = ""
    decided_at: datetime | None = None

    @property
    def needs_a_second(self) -> bool:
        """True if its credential may not post it alone."""
        return abs(self.points) > self.alone_max

    def posted_alone(self, at: datetime) -> Self:
        """It, posted by the credential that asked for it."""
        return replace(self, state=Status.POSTED, decided_at=at)

    def approved(self, by: str, at: datetime) -> Self:
        """It, approved. Raises CONFLICT if it was decided before, PERMISSION_DENIED for who asked for it."""
        self._pending()
        if by == self.created_by:
            raise Refused(Reason.PERMISSION_DENIED, "Another credential than the one that asked for it must approve.")
        return replace(self, state=Status.POSTED, decided_by=by, decided_at=at)

    def rejected(self, by: str, at: datetime) -> Self:
        """It, rejected. Raises CONFLICT if it was decided before."""
        self._pending()
        return replace(self, state=Status.REJECTED, decided_by=by, decided_at=at)

    def _pending(self) -> None:
        if self.state is not Status.PENDING:
            raise Refused(Reason.CONFLICT, f"The adjustment is {self.state.name} already.")
