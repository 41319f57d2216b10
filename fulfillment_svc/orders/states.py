"""The states of an order, the step that each takes, and the edges between them. As for redemptions, an answer that no
edge is drawn for leaves the order where it is, to take the step again later."""

from enum import StrEnum
from typing import Final

from fulfillment_svc.redemptions.states import Answer


class State(StrEnum):
    """How far an order has come."""

    HOLDING = "HOLDING"  # it is not decided yet whether the value can be held
    INVITING = "INVITING"  # the link may be on its way, so it can be claimed
    OPEN = "OPEN"  # it waits for claims, or for those under way
    REDEEMED = "REDEEMED"
    EXPIRING = "EXPIRING"  # in this and the like nothing can be claimed; the rest goes back after the last claim
    EXPIRED = "EXPIRED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    FAILING = "FAILING"
    FAILED = "FAILED"


class Delivery(StrEnum):
    """How an order reaches its recipient; the names of the proto's enum."""

    EMAIL = "EMAIL"
    LINK = "LINK"


class Step(StrEnum):
    """What is done outside. Each is idempotent by (order, step)."""

    FUND = "fund"
    INVITE = "invite"
    GIVE_BACK = "give-back"


STEPS: Final = {
    State.HOLDING: Step.FUND,
    State.INVITING: Step.INVITE,
    State.EXPIRING: Step.GIVE_BACK,
    State.CANCELLING: Step.GIVE_BACK,
    State.FAILING: Step.GIVE_BACK,
}

EDGES: Final = {
    (State.HOLDING, Answer.DONE): State.INVITING,
    (State.HOLDING, Answer.REFUSED): State.FAILED,
    (State.INVITING, Answer.DONE): State.OPEN,
    (State.INVITING, Answer.CALLED_OFF): State.CANCELLING,
    (State.OPEN, Answer.CALLED_OFF): State.CANCELLING,
    (State.EXPIRING, Answer.DONE): State.EXPIRED,
    (State.CANCELLING, Answer.DONE): State.CANCELLED,
    (State.FAILING, Answer.DONE): State.FAILED,
}

CLAIMABLE: Final = frozenset({State.INVITING, State.OPEN})
CLOSING: Final = frozenset({State.EXPIRING, State.CANCELLING, State.FAILING})
TERMINAL: Final = frozenset({State.REDEEMED, State.EXPIRED, State.CANCELLED, State.FAILED})
