"""What a redemption does next, and what an answer makes of it."""

from dataclasses import replace
from math import ldexp
from typing import Final
from uuid import UUID

from fulfillment_svc.codes import mask
from fulfillment_svc.redemptions.states import (
    EDGES,
    FAILING,
    OF_HOLDS,
    OF_STOCK,
    STEPS,
    TERMINAL,
    UNDECIDED,
    WAITING,
    Answer,
    State,
    Status,
    Step,
)
from fulfillment_svc.redemptions.values import Choice, Conduct, Redemption, Reply, Unit
from svckit.errors import Refused

BACKOFF_BASE_S: Final = 0.5
BACKOFF_MAX_S: Final = 60.0
# What partners are told of what compliance decides. Why, only the desk is told (G79).
COMPLIANCE_HOLD: Final = "COMPLIANCE_HOLD"
COMPLIANCE_REFUSED: Final = "COMPLIANCE_REFUSED"
# The reason of what a person has given back although the provider never said no.
REFUNDED_BY_OPERATOR: Final = "REFUNDED_BY_OPERATOR"
# How long after that it is looked at again and again, in case it was issued after all: three days in all.
WATCH_S: Final = (60.0, 600.0, 3_600.0, 21_600.0, 86_400.0, 172_800.0)


def first(choice: Choice, *, claims: bool = False) -> State:
    """Where a redemption begins, or a claim."""
    return _passing_by(State.RESERVING, choice, claims=claims)


def step(redemption: Redemption, conduct: Conduct) -> Step:
    """What to do next. One that has ended, and is looked at again, is only ever asked for.

    An order that a query does not show is sent again, under its reference, only where the provider knows an
    order by that, and only once it would have to be shown. It is never voided for not being shown.
    """
    unseen = redemption.state is State.UNKNOWN and redemption.answer is Answer.NOT_SEEN
    if unseen and conduct.idempotent and redemption.sent_s_ago >= conduct.visibility_s:
        return Step.ORDER
    return STEPS.get(redemption.state, Step.QUERY)


def settle(before: Redemption, reply: Reply) -> Redemption:
    """The redemption after an answer. Its version moves where its state or its status does, or where it comes to
    need a person or to need none any more."""
    if before.state in TERMINAL:
        return _looked_at(before, reply)
    answer = completed(before) if reply.answer is Answer.RELEASED else reply.answer
    state = _next(before, answer)
    edge = state is not before.state
    provider, route = (edge and reply.route) or (before.provider, before.route)
    after = replace(
        before,
        state=state,
        choice=replace(before.choice, fees_minor=reply.paid.fees_minor) if reply.paid else before.choice,
        provider=provider,
        route=route,
        answer=None if edge else reply.answer,
        units=_units(reply) or before.units,
        refusal=reply.refusal if state in FAILING and before.state not in FAILING else before.refusal,
        points_hold_id=reply.hold_id if before.state is State.HOLDING_POINTS else before.points_hold_id,
        funding_hold_id=_funding(before, reply),
        points_booked_at=reply.booked_at if before.state is State.CAPTURING_POINTS else before.points_booked_at,
        funding_booked_at=reply.booked_at if before.state is State.CAPTURING_FUNDING else before.funding_booked_at,
    )
    moved = edge or after.parked is not before.parked
    return replace(
        after,
        reason=_reason(before, after, reply),
        version=before.version + moved,
        attempts=0 if moved else before.attempts,
    )


def decided(redemption: Redemption) -> bool:
    """True once the caller can be answered: the value is held, or the redemption is refused."""
    return redemption.state not in UNDECIDED


def ended(redemption: Redemption) -> bool:
    """True if the saga has no step for it any more."""
    return redemption.state in TERMINAL


def waits(before: Redemption, after: Redemption) -> bool:
    """True if the next step must not be taken at once: the last one led nowhere definite."""
    return not ended(after) and (after.state is before.state or after.state in WAITING)


def completed(redemption: Redemption) -> Answer:
    """What it is to have done the present step, which of a delivery may be a part only."""
    return Answer.PART if redemption.state is State.DELIVERING and redemption.in_part else Answer.DONE


def backoff_s(attempts: int, chance: float) -> float:
    """How long to wait before the step is taken again; `chance` in [0, 1) spreads the crowd (F13)."""
    longest_s = min(BACKOFF_MAX_S, ldexp(BACKOFF_BASE_S, min(attempts, 10)))
    return longest_s * (0.5 + chance / 2)


def look_again_s(before: Redemption, after: Redemption, answer: Answer, chance: float) -> float | None:
    """In how long one that has ended is looked at again; None if it is left alone.

    That is for one that a person has given back, and until there is an answer for any that the provider has called
    about: a late issue must not stay unseen (G71).
    """
    if after.parked or (ended(before) and answer is Answer.REFUSED):
        return None
    if ended(before) and answer in (Answer.UNKNOWN, Answer.PENDING):
        return backoff_s(after.attempts, chance)
    watched = after.reason == REFUNDED_BY_OPERATOR and after.attempts < len(WATCH_S)
    return WATCH_S[after.attempts] if watched else None


def definite(refusal: Refused) -> bool:
    """True if the refusal says for good that nothing happened, now and under the same key later."""
    return refusal.binds or refusal.code.name in ("NOT_FOUND", "INVALID_ARGUMENT")


def _next(before: Redemption, answer: Answer) -> State:
    state = EDGES.get((before.state, answer), before.state)
    return _passing_by(state, before.choice, claims=before.order_id is not None)


def _passing_by(state: State, choice: Choice, *, claims: bool) -> State:
    """The state, or the next one whose step there is something to do in."""
    idle = (OF_HOLDS if claims else frozenset()) | (frozenset() if choice.limited else OF_STOCK)
    while STEPS.get(state) in idle:
        state = EDGES[state, Answer.DONE]
    return state


def _funding(before: Redemption, reply: Reply) -> UUID | None:
    if reply.paid:
        return reply.paid.hold_id
    return reply.hold_id if before.state is State.HOLDING_FUNDING else before.funding_hold_id


def _looked_at(before: Redemption, reply: Reply) -> Redemption:
    """One that has ended keeps its end, and everything in it. It only comes to need a person where more is issued
    than it has, until that person releases it."""
    more = any(code is not None and not unit.issued for code, unit in zip(reply.codes, before.units, strict=False))
    parked = (more or before.parked) and reply.answer is not Answer.RELEASED
    after = replace(before, answer=Answer.DONE if parked else None)
    return replace(after, version=before.version + (after.parked is not before.parked))


def _units(reply: Reply) -> tuple[Unit, ...]:
    return tuple(Unit(issued=False) if code is None else Unit(issued=True, masked=mask(code)) for code in reply.codes)


def _reason(before: Redemption, after: Redemption, reply: Reply) -> str:
    if before.state in FAILING or before.in_part:
        return before.reason
    if after.state is State.HELD:
        return COMPLIANCE_HOLD
    if STEPS.get(before.state) is Step.SCREEN and after.state in FAILING:
        return COMPLIANCE_REFUSED
    failing = after.state in FAILING or after.in_part
    return reply.reason if failing or after.status is Status.REVIEW else ""
