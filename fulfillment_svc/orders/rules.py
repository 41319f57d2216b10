"""What an order does next, and what an answer or the end of a claim makes of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fulfillment_svc import shares
from fulfillment_svc.orders.states import CLAIMABLE, CLOSING, EDGES, STEPS, TERMINAL, Delivery, State, Step
from fulfillment_svc.orders.values import Order
from fulfillment_svc.redemptions.states import Answer, Status
from fulfillment_svc.redemptions.values import Redemption, Reply

_STATUSES: Final = {
    State.REDEEMED: "REDEEMED",
    State.EXPIRING: "EXPIRED",
    State.EXPIRED: "EXPIRED",
    State.CANCELLING: "CANCELLED",
    State.CANCELLED: "CANCELLED",
    State.FAILING: "FAILED",
    State.FAILED: "FAILED",
}


def step(order: Order) -> Step | None:
    """What to do next; None if there is nothing but to wait for claims."""
    return STEPS.get(order.state)


def settle(before: Order, reply: Reply) -> Order:
    """The order after an answer to its step. One that is refused with no way on needs a person until it moves."""
    answer = Answer.DONE if reply.answer is Answer.RELEASED else reply.answer
    state = EDGES.get((before.state, answer), before.state)
    if state is before.state:
        return _refused(before, reply) if answer is Answer.REFUSED else before
    after = replace(before, state=state, attempts=0, parked=False)
    if before.state is State.HOLDING:
        return _held(after, reply) if state is not State.FAILED else _declined(after, reply)
    if before.state in CLOSING:
        return replace(after, returned_minor=before.remaining_minor, remaining_minor=0, hold_id=None)
    return replace(after, reason=reply.reason if answer is Answer.CALLED_OFF else "")


def _refused(order: Order, reply: Reply) -> Order:
    # Why one is closing outlives what becomes of its rest.
    return replace(order, parked=True, reason=order.reason if order.state in CLOSING else reply.reason)


def _held(order: Order, reply: Reply) -> Order:
    invites = order.delivery is Delivery.EMAIL and order.choice is None
    return replace(
        order,
        state=State.INVITING if invites else State.OPEN,
        remaining_minor=0 if order.direct else order.remaining_minor,
        hold_id=reply.hold_id,
    )


def _declined(order: Order, reply: Reply) -> Order:
    return replace(order, remaining_minor=0, reason=reply.reason, refusal=reply.refusal)


def claim_ended(order: Order, claim: Redemption, *, others: bool) -> Order:
    """The order after one of its claims has ended; `others` says whether more of them are under way. The value of one
    that was not had may be claimed again, unless there was nothing to choose: then nothing else can be had."""
    if claim.status is not Status.FULFILLED:
        back = replace(order, remaining_minor=order.remaining_minor + claim.choice.value_minor)
        failing = order.direct and order.state is State.OPEN
        return replace(back, state=State.FAILING, reason=claim.reason) if failing else back
    done = order.state in CLAIMABLE and not order.remaining_minor and not others
    return replace(order, state=State.REDEEMED, reason="", parked=False) if done else order


def fee_minor(order: Order, claim: Redemption) -> int:
    """The part of the order's fee that is captured with the claim's value, where that is captured next (G72). What is
    never captured has the rest of it, which is given back."""
    left_minor = order.value_minor - order.redeemed_minor
    return shares.of_part(order.fee_minor, order.value_minor, left_minor, claim.issued_minor)


def decided(order: Order) -> bool:
    """True once the caller can be answered: the value is held, or the order is refused."""
    return order.state is not State.HOLDING


def ended(order: Order) -> bool:
    """True if nothing happens to it any more."""
    return order.state in TERMINAL


def status(order: Order, claims: Sequence[Redemption]) -> str:
    """What partners see, by the names of the proto's enum."""
    if order.state in _STATUSES:
        return _STATUSES[order.state]
    if order.parked or any(claim.status is Status.REVIEW for claim in claims):
        return "REVIEW"
    return "PARTIALLY_REDEEMED" if any(claim.status is Status.FULFILLED for claim in claims) else "PENDING"
