"""What a redemption does next: its states, the edges between them, and the step that each state takes.

A step's answer is one of four. An answer that no edge is drawn for leaves the redemption where it is, to
take the step again later: so nothing unknown ever moves value (G68).
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from math import ldexp
from typing import Final
from uuid import UUID

from svckit.errors import Refused

BACKOFF_BASE_S: Final = 0.5
BACKOFF_MAX_S: Final = 60.0


class State(StrEnum):
    """How far a redemption has come."""

    HOLDING_POINTS = "HOLDING_POINTS"
    HOLDING_FUNDING = "HOLDING_FUNDING"
    DECLINING = "DECLINING"  # the funding does not suffice, so the points go back
    ACCEPTED = "ACCEPTED"  # both are held; the provider knows of nothing
    ORDERING = "ORDERING"  # from here on the provider may have the order
    UNKNOWN = "UNKNOWN"  # it was asked and did not give a definite answer
    CAPTURING_POINTS = "CAPTURING_POINTS"
    CAPTURING_FUNDING = "CAPTURING_FUNDING"
    DELIVERING = "DELIVERING"
    FULFILLED = "FULFILLED"
    RELEASING_POINTS = "RELEASING_POINTS"
    RELEASING_FUNDING = "RELEASING_FUNDING"
    FAILED = "FAILED"


class Status(StrEnum):
    """What partners see of a state; the names of the proto's enum."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    REVIEW = "REVIEW"
    FULFILLED = "FULFILLED"
    FAILED = "FAILED"


class Step(StrEnum):
    """What is done outside. Each is idempotent by (redemption, step)."""

    HOLD_POINTS = "hold-points"
    HOLD_FUNDING = "hold-funding"
    ORDER = "order"
    QUERY = "query"
    CAPTURE_POINTS = "capture-points"
    CAPTURE_FUNDING = "capture-funding"
    DELIVER = "deliver"
    VOID_POINTS = "void-points"
    VOID_FUNDING = "void-funding"


class Answer(StrEnum):
    """What a step came back with. SENT is not an answer yet: it is written before an order goes out."""

    SENT = "SENT"
    DONE = "DONE"
    REFUSED = "REFUSED"
    NOT_SEEN = "NOT_SEEN"
    UNKNOWN = "UNKNOWN"


STEPS: Final = {
    State.HOLDING_POINTS: Step.HOLD_POINTS,
    State.HOLDING_FUNDING: Step.HOLD_FUNDING,
    State.DECLINING: Step.VOID_POINTS,
    State.ACCEPTED: Step.ORDER,
    State.ORDERING: Step.QUERY,
    State.UNKNOWN: Step.QUERY,
    State.CAPTURING_POINTS: Step.CAPTURE_POINTS,
    State.CAPTURING_FUNDING: Step.CAPTURE_FUNDING,
    State.DELIVERING: Step.DELIVER,
    State.RELEASING_POINTS: Step.VOID_POINTS,
    State.RELEASING_FUNDING: Step.VOID_FUNDING,
}

EDGES: Final = {
    (State.HOLDING_POINTS, Answer.DONE): State.HOLDING_FUNDING,
    (State.HOLDING_POINTS, Answer.REFUSED): State.FAILED,
    (State.HOLDING_FUNDING, Answer.DONE): State.ACCEPTED,
    (State.HOLDING_FUNDING, Answer.REFUSED): State.DECLINING,
    (State.DECLINING, Answer.DONE): State.FAILED,
    (State.ACCEPTED, Answer.SENT): State.ORDERING,
    (State.ORDERING, Answer.DONE): State.CAPTURING_POINTS,
    (State.ORDERING, Answer.REFUSED): State.RELEASING_POINTS,
    (State.ORDERING, Answer.NOT_SEEN): State.UNKNOWN,
    (State.ORDERING, Answer.UNKNOWN): State.UNKNOWN,
    (State.UNKNOWN, Answer.DONE): State.CAPTURING_POINTS,
    (State.UNKNOWN, Answer.REFUSED): State.RELEASING_POINTS,
    (State.CAPTURING_POINTS, Answer.DONE): State.CAPTURING_FUNDING,
    (State.CAPTURING_FUNDING, Answer.DONE): State.DELIVERING,
    (State.DELIVERING, Answer.DONE): State.FULFILLED,
    (State.RELEASING_POINTS, Answer.DONE): State.RELEASING_FUNDING,
    (State.RELEASING_FUNDING, Answer.DONE): State.FAILED,
}

TERMINAL: Final = frozenset({State.FULFILLED, State.FAILED})
# The caller's answer is open in these; leaving them decides it.
UNDECIDED: Final = frozenset({State.HOLDING_POINTS, State.HOLDING_FUNDING, State.DECLINING})
_FAILING: Final = frozenset({State.DECLINING, State.RELEASING_POINTS, State.RELEASING_FUNDING, State.FAILED})


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, at the price it was quoted at (G73). `points` is for all items, the rest for one."""

    reward_id: str
    reward_version: int
    reward_name: str
    brand: str
    quantity: int
    denomination_minor: int
    currency: str
    points: int

    @property
    def value_minor(self) -> int:
        """The face value of all items, in minor units."""
        return self.denomination_minor * self.quantity


@dataclass(frozen=True, slots=True)
class Redemption:
    """A redemption as stored.

    `version` counts its edges, `attempts` the tries of the present step, and `fencing_token` the claims: a
    write under an old token fails. `reason` says why it fails or waits for a person. `refusal` is the
    `google.rpc.Status` that the caller gets, and `answer` the last one to the present state's step.
    `sent_s_ago` is the age of the last order at the time of the claim. `masked` has one entry an item, empty
    until its code is issued. `traceparent` names the request's trace (W3C).
    """

    program_id: str
    redemption_id: UUID
    member_id: str
    choice: Choice
    provider: str
    idempotency_key: str
    created_at: datetime
    traceparent: str = ""
    state: State = State.HOLDING_POINTS
    answer: Answer | None = None
    version: int = 1
    reason: str = ""
    refusal: bytes | None = None
    points_hold_id: UUID | None = None
    funding_hold_id: UUID | None = None
    attempts: int = 0
    fencing_token: int = 1
    sent_s_ago: float = 0.0
    masked: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """What partners see. A step that is refused where no edge leads on waits for a person, too."""
        if self.state in TERMINAL:
            return Status(self.state.value)
        if self.state is State.UNKNOWN or self.answer is Answer.REFUSED:
            return Status.REVIEW
        return Status.PENDING if self.state in UNDECIDED else Status.PROCESSING


@dataclass(frozen=True, slots=True)
class Reply:
    """What a step came back with: the answer and, where there are, its reason and what it brought."""

    answer: Answer
    reason: str = ""
    hold_id: UUID | None = None
    refusal: bytes | None = None
    codes: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Conduct:
    """What a provider promises: whether a reference is never issued twice, and when an order shows at last."""

    idempotent: bool
    visibility_s: float


def step(redemption: Redemption, conduct: Conduct) -> Step | None:
    """What to do next; None at the end.

    An order that a query does not show is sent again, under its reference, only where the provider knows an
    order by that, and only once it would have to be shown. It is never voided for not being shown.
    """
    unseen = redemption.state is State.UNKNOWN and redemption.answer is Answer.NOT_SEEN
    if unseen and conduct.idempotent and redemption.sent_s_ago >= conduct.visibility_s:
        return Step.ORDER
    return STEPS.get(redemption.state)


def settle(before: Redemption, reply: Reply) -> Redemption:
    """The redemption after an answer. Its version moves where its state or its status does."""
    state = EDGES.get((before.state, reply.answer), before.state)
    edge = state is not before.state
    after = replace(
        before,
        state=state,
        answer=None if edge else reply.answer,
        refusal=reply.refusal if state in _FAILING and before.state not in _FAILING else before.refusal,
        points_hold_id=reply.hold_id if before.state is State.HOLDING_POINTS else before.points_hold_id,
        funding_hold_id=reply.hold_id if before.state is State.HOLDING_FUNDING else before.funding_hold_id,
    )
    moved = edge or after.status is not before.status
    return replace(
        after,
        reason=_reason(before, after, reply),
        version=before.version + moved,
        attempts=0 if moved else before.attempts,
    )


def decided(redemption: Redemption) -> bool:
    """True once the caller can be answered: the value is held, or the redemption is refused."""
    return redemption.state not in UNDECIDED


def waits(before: Redemption, after: Redemption) -> bool:
    """True if the next step must not be taken at once: the last one led nowhere definite."""
    return after.state not in TERMINAL and (after.state is before.state or after.state is State.UNKNOWN)


def backoff_s(attempts: int, chance: float) -> float:
    """How long to wait before the step is taken again; `chance` in [0, 1) spreads the crowd (F13)."""
    longest_s = min(BACKOFF_MAX_S, ldexp(BACKOFF_BASE_S, min(attempts, 10)))
    return longest_s * (0.5 + chance / 2)


def definite(refusal: Refused) -> bool:
    """True if the refusal says for good that nothing happened, now and under the same key later."""
    return refusal.binds or refusal.code.name in ("NOT_FOUND", "INVALID_ARGUMENT")


def _reason(before: Redemption, after: Redemption, reply: Reply) -> str:
    if before.state in _FAILING:
        return before.reason
    return reply.reason if after.state in _FAILING or after.status is Status.REVIEW else ""
