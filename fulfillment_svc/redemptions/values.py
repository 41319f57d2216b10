"""A redemption as a value, and what its steps come back with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self
from uuid import UUID

from fulfillment_svc import shares
from fulfillment_svc.providers.serving import Route, Wanted
from fulfillment_svc.redemptions.states import TERMINAL, UNDECIDED, WAITING, Answer, State, Status
from svckit.programs import Program


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, at the price it was quoted at (G73). `points` and `fees_minor` are for all items, the rest is
    for one. Of what is `limited` units have to be put by. `kind` is the catalog's name of the reward's kind, for
    example CLOSED_LOOP."""

    reward_id: str
    reward_version: int
    reward_name: str
    brand: str
    quantity: int
    denomination_minor: int
    currency: str
    points: int
    fees_minor: int = 0
    limited: bool = False
    kind: str = ""

    @property
    def value_minor(self) -> int:
        """The face value of all items, in minor units."""
        return self.denomination_minor * self.quantity

    @property
    def funding_minor(self) -> int:
        """What the prepaid funding pays for all items, in minor units."""
        return self.value_minor + self.fees_minor

    @property
    def shares(self) -> tuple[int, ...]:
        """Each item's share of the points."""
        return shares.split(self.points, self.quantity)

    def wanted(self, program: Program, member_id: str, country: str) -> Wanted:
        """What a provider is looked for by; `member_id` is empty for a recipient who is no member."""
        return Wanted(program, bool(member_id), country, self.currency, self.brand, self.kind, self.quantity)


@dataclass(frozen=True, slots=True)
class Unit:
    """What became of one item. `issued` is None until that is known, and `masked` empty until its code is."""

    issued: bool | None = None
    masked: str = ""


@dataclass(frozen=True, slots=True)
class Redemption:
    """A redemption as stored.

    `version` counts its edges, `attempts` the tries of the present step, and `fencing_token` the claims: a
    write under an old token fails. `reason` says why it fails or waits for a person. `refusal` is the
    `google.rpc.Status` that the caller gets, and `answer` the last one to the present state's step.
    `sent_s_ago` is the age of the last order at the time of the claim. `cancel_key` is the idempotency key of
    the call that has called it off. `country` is the recipient's. `provider` was chosen for what `route` says, see
    `Router`. The ledger has recorded the captures at `points_booked_at` and `funding_booked_at`. `traceparent` names
    the request's trace (W3C). `order_id` is set for a claim, which belongs to no member and costs no points;
    `payee` is what its recipient is known by.
    """

    program_id: str
    redemption_id: UUID
    member_id: str
    choice: Choice
    provider: str
    idempotency_key: str
    created_at: datetime
    units: tuple[Unit, ...]
    country: str = ""
    route: str = ""
    traceparent: str = ""
    state: State = State.HOLDING_POINTS
    answer: Answer | None = None
    version: int = 1
    reason: str = ""
    refusal: bytes | None = None
    points_hold_id: UUID | None = None
    funding_hold_id: UUID | None = None
    points_booked_at: datetime | None = None
    funding_booked_at: datetime | None = None
    cancel_key: str | None = None
    attempts: int = 0
    fencing_token: int = 1
    sent_s_ago: float = 0.0
    order_id: UUID | None = None
    payee: str = ""

    @property
    def status(self) -> Status:
        """What partners see."""
        if self.state in TERMINAL:
            return Status(self.state.value)
        if self.parked:
            return Status.REVIEW
        return Status.PENDING if self.state in UNDECIDED else Status.PROCESSING

    @property
    def parked(self) -> bool:
        """True if it needs a person: compliance holds it, its outcome is unknown, a step is refused where no edge
        leads on, or it has ended and the provider has issued it all the same."""
        if self.state in TERMINAL:
            return self.answer is Answer.DONE
        return self.state in WAITING or self.answer is Answer.REFUSED

    @property
    def in_part(self) -> bool:
        """True once it is known that some items are not issued while others are."""
        return any(unit.issued is False for unit in self.units)

    @property
    def issued_points(self) -> int:
        """The points for the items that are issued."""
        return self._issued(self.choice.points)

    @property
    def issued_items(self) -> int:
        """How many items are issued."""
        return sum(unit.issued is True for unit in self.units)

    @property
    def issued_minor(self) -> int:
        """The face value of the items that are issued, in minor units."""
        return self.choice.denomination_minor * self.issued_items

    @property
    def issued_fees_minor(self) -> int:
        """The fees on the items that are issued, in minor units."""
        return self._issued(self.choice.fees_minor)

    def _issued(self, total: int) -> int:
        """The issued items' part of a total."""
        parts = shares.split(total, self.choice.quantity)
        return sum(part for part, unit in zip(parts, self.units, strict=True) if unit.issued)


@dataclass(frozen=True, slots=True)
class Paid:
    """What a claim was captured from, its order's hold of then, and the part of the order's fee that went with it."""

    hold_id: UUID
    fees_minor: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What a step came back with: the answer and, where there are, its reason and what it brought.

    `codes` has one entry an item, in the order of their numbers, or is empty. `route` is that of the next provider,
    where nothing has gone out to the present one. `paid` comes with a claim's capture, whose `hold_id` is the rest's.
    """

    answer: Answer
    reason: str = ""
    hold_id: UUID | None = None
    booked_at: datetime | None = None
    paid: Paid | None = None
    refusal: bytes | None = None
    route: Route | None = None
    codes: tuple[str | None, ...] = field(default=(), repr=False)

    @classmethod
    def issued(cls, codes: Sequence[str | None], reason: str = "") -> Self:
        """The provider's definite yes, to all items or to those that have a code; `reason` is about the others."""
        return cls(Answer.PART if None in codes else Answer.DONE, reason, codes=tuple(codes))


@dataclass(frozen=True, slots=True)
class Conduct:
    """What a provider promises: whether a reference is never issued twice, and when an order shows at last."""

    idempotent: bool
    visibility_s: float
