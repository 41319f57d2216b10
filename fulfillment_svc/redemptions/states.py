"""The states of a redemption, the step that each takes, and the edges between them.

A step's answer is one of a few. An answer that no edge is drawn for leaves the redemption where it is, to take
the step again later: so nothing unknown ever moves value (G68). A redemption that has ended is settled: whatever
is found out about it later goes to a person (G71).
"""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """How far a redemption has come."""

    RESERVING = "RESERVING"  # the first of a reward whose stock is limited
    HOLDING_POINTS = "HOLDING_POINTS"
    HOLDING_FUNDING = "HOLDING_FUNDING"
    SCREENING = "SCREENING"  # compliance is asked
    DECLINING_FUNDING = "DECLINING_FUNDING"  # it has refused
    DECLINING = "DECLINING"  # so, or because the funding does not suffice, the points go back
    DECLINING_STOCK = "DECLINING_STOCK"
    HELD = "HELD"  # compliance lets a person decide; the value stays held
    ACCEPTED = "ACCEPTED"  # both are held; the provider knows of nothing
    CANCELLING_POINTS = "CANCELLING_POINTS"
    CANCELLING_FUNDING = "CANCELLING_FUNDING"
    CANCELLING_STOCK = "CANCELLING_STOCK"
    CANCELLED = "CANCELLED"
    ORDERING = "ORDERING"  # from here on the provider may have the order
    UNKNOWN = "UNKNOWN"  # it was asked and did not give a definite answer
    CAPTURING_POINTS = "CAPTURING_POINTS"
    CAPTURING_FUNDING = "CAPTURING_FUNDING"
    CONSUMING = "CONSUMING"
    DELIVERING = "DELIVERING"
    FULFILLED = "FULFILLED"
    PARTIALLY_FULFILLED = "PARTIALLY_FULFILLED"
    RELEASING_POINTS = "RELEASING_POINTS"
    RELEASING_FUNDING = "RELEASING_FUNDING"
    RELEASING_STOCK = "RELEASING_STOCK"
    FAILED = "FAILED"


class Status(StrEnum):
    """What partners see of a state; the names of the proto's enum."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    REVIEW = "REVIEW"
    FULFILLED = "FULFILLED"
    PARTIALLY_FULFILLED = "PARTIALLY_FULFILLED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Step(StrEnum):
    """What is done outside. Each is idempotent by (redemption, step)."""

    RESERVE_STOCK = "reserve-stock"
    HOLD_POINTS = "hold-points"
    HOLD_FUNDING = "hold-funding"
    SCREEN = "screen"
    ORDER = "order"
    QUERY = "query"
    CAPTURE_POINTS = "capture-points"
    CAPTURE_FUNDING = "capture-funding"
    CONSUME_STOCK = "consume-stock"
    DELIVER = "deliver"
    VOID_POINTS = "void-points"
    VOID_FUNDING = "void-funding"
    RELEASE_STOCK = "release-stock"


class Answer(StrEnum):
    """What a step came back with. Three are none: SENT is written before an order goes out, CALLED_OFF is the partner's
    own word, and RELEASED an operator's that what is refused, or issued too late, is dealt with."""

    SENT = "SENT"
    CALLED_OFF = "CALLED_OFF"
    RELEASED = "RELEASED"
    DONE = "DONE"
    PART = "PART"  # done, but for some of the items only
    REFUSED = "REFUSED"
    HELD = "HELD"  # a person decides
    PENDING = "PENDING"  # the provider has the order and is still at it
    NOT_SEEN = "NOT_SEEN"
    NOT_SENT = "NOT_SENT"  # nothing went out, and another provider serves it
    UNKNOWN = "UNKNOWN"


STEPS: Final = {
    State.RESERVING: Step.RESERVE_STOCK,
    State.HOLDING_POINTS: Step.HOLD_POINTS,
    State.HOLDING_FUNDING: Step.HOLD_FUNDING,
    State.SCREENING: Step.SCREEN,
    State.DECLINING_FUNDING: Step.VOID_FUNDING,
    State.DECLINING: Step.VOID_POINTS,
    State.DECLINING_STOCK: Step.RELEASE_STOCK,
    State.HELD: Step.SCREEN,
    State.ACCEPTED: Step.ORDER,
    State.CANCELLING_POINTS: Step.VOID_POINTS,
    State.CANCELLING_FUNDING: Step.VOID_FUNDING,
    State.CANCELLING_STOCK: Step.RELEASE_STOCK,
    State.ORDERING: Step.QUERY,
    State.UNKNOWN: Step.QUERY,
    State.CAPTURING_POINTS: Step.CAPTURE_POINTS,
    State.CAPTURING_FUNDING: Step.CAPTURE_FUNDING,
    State.CONSUMING: Step.CONSUME_STOCK,
    State.DELIVERING: Step.DELIVER,
    State.RELEASING_POINTS: Step.VOID_POINTS,
    State.RELEASING_FUNDING: Step.VOID_FUNDING,
    State.RELEASING_STOCK: Step.RELEASE_STOCK,
}
# What is done to the stock. A reward whose stock is not limited passes these by.
OF_STOCK: Final = frozenset({Step.RESERVE_STOCK, Step.CONSUME_STOCK, Step.RELEASE_STOCK})
# What is done to holds of a redemption's own. A claim has none: its order's holds its value.
OF_HOLDS: Final = frozenset(
    {Step.HOLD_POINTS, Step.HOLD_FUNDING, Step.CAPTURE_POINTS, Step.VOID_POINTS, Step.VOID_FUNDING}
)

EDGES: Final = {
    (State.RESERVING, Answer.DONE): State.HOLDING_POINTS,
    (State.RESERVING, Answer.REFUSED): State.FAILED,
    (State.HOLDING_POINTS, Answer.DONE): State.HOLDING_FUNDING,
    (State.HOLDING_POINTS, Answer.REFUSED): State.DECLINING_STOCK,
    (State.HOLDING_FUNDING, Answer.DONE): State.SCREENING,
    (State.HOLDING_FUNDING, Answer.REFUSED): State.DECLINING,
    (State.SCREENING, Answer.DONE): State.ACCEPTED,
    (State.SCREENING, Answer.HELD): State.HELD,
    (State.SCREENING, Answer.REFUSED): State.DECLINING_FUNDING,
    (State.DECLINING_FUNDING, Answer.DONE): State.DECLINING,
    (State.DECLINING, Answer.DONE): State.DECLINING_STOCK,
    (State.DECLINING_STOCK, Answer.DONE): State.FAILED,
    (State.HELD, Answer.DONE): State.ACCEPTED,
    (State.HELD, Answer.REFUSED): State.RELEASING_POINTS,
    (State.HELD, Answer.CALLED_OFF): State.CANCELLING_POINTS,
    (State.ACCEPTED, Answer.SENT): State.ORDERING,
    (State.ACCEPTED, Answer.CALLED_OFF): State.CANCELLING_POINTS,
    (State.CANCELLING_POINTS, Answer.DONE): State.CANCELLING_FUNDING,
    (State.CANCELLING_FUNDING, Answer.DONE): State.CANCELLING_STOCK,
    (State.CANCELLING_STOCK, Answer.DONE): State.CANCELLED,
    (State.ORDERING, Answer.DONE): State.CAPTURING_POINTS,
    (State.ORDERING, Answer.PART): State.CAPTURING_POINTS,
    (State.ORDERING, Answer.REFUSED): State.RELEASING_POINTS,
    (State.ORDERING, Answer.NOT_SENT): State.ACCEPTED,
    (State.ORDERING, Answer.NOT_SEEN): State.UNKNOWN,
    (State.ORDERING, Answer.UNKNOWN): State.UNKNOWN,
    (State.UNKNOWN, Answer.DONE): State.CAPTURING_POINTS,
    (State.UNKNOWN, Answer.PART): State.CAPTURING_POINTS,
    (State.UNKNOWN, Answer.REFUSED): State.RELEASING_POINTS,
    (State.CAPTURING_POINTS, Answer.DONE): State.CAPTURING_FUNDING,
    (State.CAPTURING_FUNDING, Answer.DONE): State.CONSUMING,
    (State.CONSUMING, Answer.DONE): State.DELIVERING,
    (State.DELIVERING, Answer.DONE): State.FULFILLED,
    (State.DELIVERING, Answer.PART): State.PARTIALLY_FULFILLED,
    (State.RELEASING_POINTS, Answer.DONE): State.RELEASING_FUNDING,
    (State.RELEASING_FUNDING, Answer.DONE): State.RELEASING_STOCK,
    (State.RELEASING_STOCK, Answer.DONE): State.FAILED,
}

TERMINAL: Final = frozenset({State.FULFILLED, State.PARTIALLY_FULFILLED, State.FAILED, State.CANCELLED})
# The caller's answer is open in these; leaving them decides it.
UNDECIDED: Final = frozenset(
    {
        State.RESERVING,
        State.HOLDING_POINTS,
        State.HOLDING_FUNDING,
        State.SCREENING,
        State.DECLINING_FUNDING,
        State.DECLINING,
        State.DECLINING_STOCK,
    }
)
# A person has to decide, or to find out.
WAITING: Final = frozenset({State.HELD, State.UNKNOWN})
# Everything has been given back in these.
GIVEN_BACK: Final = frozenset({State.FAILED, State.CANCELLED})
# Only in these does it matter what the provider says by itself.
ASKING: Final = frozenset({State.ORDERING, State.UNKNOWN, State.PARTIALLY_FULFILLED, *GIVEN_BACK})
FAILING: Final = frozenset(
    {
        State.DECLINING_FUNDING,
        State.DECLINING,
        State.DECLINING_STOCK,
        State.RELEASING_POINTS,
        State.RELEASING_FUNDING,
        State.RELEASING_STOCK,
        State.FAILED,
    }
)
