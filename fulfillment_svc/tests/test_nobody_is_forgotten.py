"""No status without a worker or a person who picks it up: judged for every state and every answer, of redemptions
and of orders."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import CheckConstraint, Table

from fulfillment_svc.orders import rules as order_rules
from fulfillment_svc.orders import states as of_orders
from fulfillment_svc.orders.states import Delivery
from fulfillment_svc.orders.tables import orders
from fulfillment_svc.orders.values import Order
from fulfillment_svc.redemptions import rules, states
from fulfillment_svc.redemptions.states import Answer, Status
from fulfillment_svc.redemptions.tables import redemptions
from fulfillment_svc.redemptions.values import Choice, Redemption, Reply, Unit
from fulfillment_svc.review.rules import allowed

_AT = datetime(2026, 7, 1, tzinfo=UTC)
_CHOICE = Choice("r", 1, "A reward", "A brand", 1, 1_000, "USD", 800, limited=True)
# Whoever has the link goes on with it, or its time, or whoever ordered calls it off.
_WAITS_FOR_CLAIMS = frozenset({of_orders.State.OPEN})


def redemption(state: states.State, **changes: Any) -> Redemption:
    """One in a state."""
    return Redemption("acme", uuid.UUID(int=1), "m_1", _CHOICE, "sandbox", "k", _AT, (Unit(),), state=state, **changes)


def order(state: of_orders.State, **changes: Any) -> Order:
    """One in a state, of which something is left."""
    said: dict[str, Any] = {"value_minor": 2_500, "currency": "USD", "remaining_minor": 2_500, "state": state}
    kept: dict[str, Any] = {"menu": b"m", "choice": None, "token_hash": b"h", "expires_at": None, "traceparent": ""}
    whose: dict[str, Any] = {
        "program_id": "acme",
        "order_id": uuid.UUID(int=1),
        "idempotency_key": "k",
        "created_at": _AT,
    }
    return Order(delivery=Delivery.EMAIL, **whose, **kept, **(said | changes))


def test_a_worker_has_a_step_for_all_that_has_not_ended() -> None:
    assert states.STEPS.keys() | states.TERMINAL == set(states.State)
    assert of_orders.STEPS.keys() | of_orders.TERMINAL | _WAITS_FOR_CLAIMS == set(of_orders.State)


@pytest.mark.parametrize(
    ("table", "resting"),
    [(redemptions, states.TERMINAL), (orders, of_orders.TERMINAL | _WAITS_FOR_CLAIMS)],
    ids=["redemptions", "orders"],
)
def test_the_database_lets_nothing_else_be_without_a_time_to_be_taken(table: Table, resting: frozenset[str]) -> None:
    rules_of_it = [str(one.sqltext) for one in table.constraints if isinstance(one, CheckConstraint)]
    (due,) = [one for one in rules_of_it if "due_at IS NOT NULL" in one]
    named = due.partition("state IN (")[2].partition(")")[0]
    assert {state.strip(" '") for state in named.split(",")} == resting


@pytest.mark.parametrize("state", states.State)
def test_a_redemption_that_partners_see_in_review_is_one_that_a_person_can_act_on(state: states.State) -> None:
    for answer in Answer:
        after = rules.settle(redemption(state), Reply(answer, "SAID_SO"))
        assert (after.status is Status.REVIEW) <= bool(allowed(after)), answer
        assert bool(allowed(after)) is after.parked, answer
    refused = rules.settle(redemption(state), Reply(Answer.REFUSED, "SAID_SO"))
    assert (refused.state is state and state in states.STEPS) <= refused.parked, "no edge leads on"


@pytest.mark.parametrize("state", of_orders.State)
def test_an_order_that_partners_see_in_review_is_one_that_a_person_can_act_on(state: of_orders.State) -> None:
    for answer in Answer:
        after = order_rules.settle(order(state), Reply(answer, "SAID_SO"))
        assert (order_rules.status(after, []) == "REVIEW") <= bool(allowed(after)), answer
        assert bool(allowed(after)) is after.parked, answer
    refused = order_rules.settle(order(state), Reply(Answer.REFUSED, "SAID_SO"))
    assert (refused.state is state and state in of_orders.STEPS) <= refused.parked, "no edge leads on"


@pytest.mark.parametrize("state", of_orders.STEPS)
def test_what_a_person_may_do_about_an_order_leads_on(state: of_orders.State) -> None:
    parked = order(state, parked=True, reason="SAID_SO")
    if state is of_orders.State.HOLDING:
        assert (state, Answer.REFUSED) in of_orders.EDGES, "it never waits for a person"
        return
    released = order_rules.settle(parked, Reply(Answer.RELEASED))
    assert released.state is not state
    assert not released.parked
    still = order_rules.settle(parked, Reply(Answer.UNKNOWN, "MAIL_UNREACHABLE"))
    assert still == parked, "that nobody answers now does not make the refusal undone"
    spent = allowed(replace(parked, remaining_minor=0))
    assert spent == tuple(action for action in allowed(parked) if action != "REFUND")
