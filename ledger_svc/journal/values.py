"""The values of the journal: who owns an account, what an entry says, what a lot is. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final, NamedTuple
from uuid import UUID

MAX_AMOUNT: Final = 2**53
TICK: Final = timedelta(microseconds=1)


Order = tuple[bool, datetime, datetime, UUID]


class LotsMissing(Exception):  # noqa: N818 - not an error: the account is loaded again with all its lots
    """A posting has to look beyond the lots that were loaded."""


class MembersMerged(Exception):  # noqa: N818 - not an error: the batch is loaded again, for those who count
    """A batch was loaded for members that are aliases, or were: `aliases` says who counts for them."""

    def __init__(self, aliases: dict[str, str]) -> None:
        super().__init__()
        self.aliases = aliases


class Kind(IntEnum):
    """What kind of movement an entry is; the numbers are `rewards.ledger.v1.Transaction.Kind`."""

    EARN = 1
    REDEEM = 2
    REVERSE = 3
    EXPIRE = 4
    ADJUST = 5
    TRANSFER = 6
    CAPTURE = 7
    FUND = 8
    SETTLE = 9
    FEE = 10


class Category(IntEnum):
    """How statements group an entry; the numbers are `rewards.ledger.v1.Category`."""

    BONUS = 1
    SPEND = 2
    REDEEM = 3
    PARTNER = 4
    PURCHASED = 5
    EXPIRED = 6
    ADJUST = 7


class Owner(IntEnum):
    """Whose account it is."""

    MEMBER = 1
    FUNDING = 2


class Mode(IntEnum):
    """What a refused item does to the others of its bulk call (G61); the numbers are PostBatchRequest.Mode's."""

    CONTINUE = 1
    STOP_ON_ERROR = 2
    ATOMIC = 3


class Key(NamedTuple):
    """What names an account: the member's id or the funding's currency, and the asset."""

    program_id: str
    owner_kind: Owner
    owner: str
    asset: str


@dataclass(slots=True)
class Lot:
    """Points that came in together. `expires_at` is exclusive; None is never.

    `remaining` is what nobody has drawn or frozen, `lapsed` what ran out; nothing else of a lot ever changes.
    `received_at` is when a transfer brought them; None where they were earned on this account.
    """

    lot_id: UUID
    earned_at: datetime
    expires_at: datetime | None
    original: int
    remaining: int
    lapsed: int = 0
    received_at: datetime | None = None

    def expired(self, at: datetime) -> bool:
        """True if its points have run out at `at` (G3)."""
        return self.expires_at is not None and self.expires_at <= at

    def order(self) -> Order:
        """The total order of burning: first to expire first, never last, then earlier earned, then id (G2)."""
        return (self.expires_at is None, self.expires_at or self.earned_at, self.earned_at, self.lot_id)


class Entry(NamedTuple):
    """One movement on one account; its counter-entry is implied by the kind."""

    transaction_id: UUID
    kind: Kind
    category: Category
    amount: int
    balance_after: int
    version: int
    recorded_at: datetime
    effective_at: datetime
    reverses: UUID | None = None
    # In words; of a fee, the transaction that it is on.
    reason: str = ""


class Use(NamedTuple):
    """What a transaction or hold drew from a lot; negative where a reversal or a part capture gave it back."""

    lot_id: UUID
    amount: int


class Draft(NamedTuple):
    """A posting as asked for. `recorded_at` may be moved on so that it is unique on its account."""

    transaction_id: UUID
    kind: Kind
    category: Category
    at: datetime
    effective_at: datetime | None = None
    reverses: UUID | None = None
    reason: str = ""


def split(uses: list[Use], first: int) -> tuple[list[Use], list[Use]]:
    """The first `first` points of `uses`, in their order, and the rest."""
    head: list[Use] = []
    tail: list[Use] = []
    for use in uses:
        taken = min(first, use.amount)
        first -= taken
        if taken:
            head.append(Use(use.lot_id, taken))
        if use.amount > taken:
            tail.append(Use(use.lot_id, use.amount - taken))
    return head, tail
