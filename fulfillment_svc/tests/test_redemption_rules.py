"""The states of a redemption: no orphan, no path that pays twice or pays back what was issued."""

import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fulfillment_svc.providers.serving import Route
from fulfillment_svc.redemptions import rules, wire
from fulfillment_svc.redemptions.states import EDGES, OF_STOCK, STEPS, TERMINAL, UNDECIDED, Answer, State, Status, Step
from fulfillment_svc.redemptions.values import Choice, Conduct, Redemption, Reply, Unit
from svckit.errors import Reason, Refused

CHOICE = Choice("coffee-10", 3, "Coffee", "Kaffa", 2, 1000, "USD", 1600)
LIMITED = replace(CHOICE, limited=True)
PROVIDER = Conduct(idempotent=True, visibility_s=3.0)

conducts = st.builds(Conduct, idempotent=st.booleans(), visibility_s=st.sampled_from([0.0, 3.0]))
# More often than not things work, or few walks would come as far as an order.
SELDOM = [Answer.PART, Answer.REFUSED, Answer.HELD, Answer.PENDING, Answer.UNKNOWN, Answer.NOT_SEEN, Answer.NOT_SENT]
drawn = st.sampled_from([*[Answer.DONE] * 5, *SELDOM])
choices = st.sampled_from([CHOICE, LIMITED])
walks = st.lists(st.tuples(drawn, st.sampled_from([0.0, 9.0])), min_size=8, max_size=40)


def new(choice: Choice = CHOICE) -> Redemption:
    at, units = datetime(2026, 1, 1, tzinfo=UTC), (Unit(),) * choice.quantity
    named = uuid.uuid4(), "m_1", choice, "sandbox", "k"
    return Redemption("acme", *named, at, units, state=rules.first(choice))


def reply(step: Step, answer: Answer) -> Reply:
    """What a step can really come back with: only a query does not see an order, only an order is done in part, and
    only what is screened is held."""
    if step in (Step.ORDER, Step.QUERY) and answer in (Answer.DONE, Answer.PART):
        return Reply.issued(("CODE", "CODE" if answer is Answer.DONE else None), "PROVIDER_OUT_OF_STOCK")
    if answer is Answer.PART:
        answer = Answer.DONE
    if answer is Answer.NOT_SENT and step is Step.ORDER:
        return Reply(answer, "PROVIDER_UNREACHABLE", route=Route("next", "sandbox: UNREACHABLE, next: SERVES"))
    if answer is Answer.PENDING and step in (Step.ORDER, Step.QUERY):
        return Reply(answer, "PROVIDER_PENDING")
    only = {Answer.NOT_SEEN: Step.QUERY, Answer.HELD: Step.SCREEN}
    if answer in (Answer.NOT_SENT, Answer.PENDING) or only.get(answer, step) is not step:
        answer = Answer.UNKNOWN
    hold = uuid.uuid4() if step in (Step.HOLD_POINTS, Step.HOLD_FUNDING) and answer is Answer.DONE else None
    refusal = b"status" if answer in (Answer.REFUSED, Answer.UNKNOWN) else None
    return Reply(answer, f"{step}.{answer}", hold_id=hold, refusal=refusal)


def walk(
    answers: list[tuple[Answer, float]], conduct: Conduct, choice: Choice = LIMITED
) -> tuple[list[Redemption], list[tuple[Step, Answer]]]:
    """The redemption after each answer, and what was done."""
    seen, done = [new(choice)], []
    for answer, sent_s_ago in answers:
        if rules.ended(seen[-1]):
            break
        step = rules.step(replace(seen[-1], sent_s_ago=sent_s_ago), conduct)
        if step is Step.ORDER:
            seen.append(rules.settle(seen[-1], Reply(Answer.SENT)))
        came = reply(step, answer)
        if step is Step.DELIVER and came.answer is Answer.DONE:
            came = replace(came, answer=rules.completed(seen[-1]))
        done.append((step, came.answer))
        seen.append(rules.settle(seen[-1], came))
    return seen, done


def test_every_state_has_a_step_or_is_an_end() -> None:
    assert STEPS.keys() | TERMINAL == set(State)
    assert not STEPS.keys() & TERMINAL


def test_every_state_can_be_reached_and_can_end() -> None:
    reached, frontier = {State.RESERVING}, [State.RESERVING]
    while frontier:
        state = frontier.pop()
        later = {to for (source, _), to in EDGES.items() if source is state} - reached
        reached |= later
        frontier.extend(later)
    assert reached == set(State)
    for state in set(State) - TERMINAL:
        ends, trail = {state}, [state]
        while trail:
            here = trail.pop()
            onward = {to for (source, _), to in EDGES.items() if source is here} - ends
            ends |= onward
            trail.extend(onward)
        assert ends & TERMINAL, f"{state} is a trap"


def test_nothing_unknown_leads_anywhere_but_to_unknown() -> None:
    doubtful = {to for (_, answer), to in EDGES.items() if answer in (Answer.UNKNOWN, Answer.NOT_SEEN)}
    assert doubtful == {State.UNKNOWN}


@given(walks, conducts, choices)
def test_value_is_captured_xor_given_back(
    answers: list[tuple[Answer, float]], conduct: Conduct, choice: Choice
) -> None:
    seen, done = walk(answers, conduct, choice)
    worked = Counter(step for step, answer in done if answer in (Answer.DONE, Answer.PART))
    captured, voided = worked[Step.CAPTURE_POINTS], worked[Step.VOID_POINTS]
    assert captured + voided <= 1
    assert worked[Step.CAPTURE_FUNDING] + worked[Step.VOID_FUNDING] <= 1
    issued = worked[Step.ORDER] + worked[Step.QUERY]
    assert issued <= 1
    assert not (issued and voided), "given back although issued (R3)"
    assert captured <= issued
    last = seen[-1]
    if last.state in (State.FULFILLED, State.PARTIALLY_FULFILLED):
        assert last.in_part is (last.state is State.PARTIALLY_FULFILLED)
        assert (captured, worked[Step.CAPTURE_FUNDING], worked[Step.DELIVER]) == (1, 1, 1)
        assert (worked[Step.CONSUME_STOCK], worked[Step.RELEASE_STOCK]) == (choice.limited, 0)
    if last.state is State.FAILED:
        held = worked[Step.HOLD_POINTS], worked[Step.HOLD_FUNDING], worked[Step.RESERVE_STOCK]
        assert (voided, worked[Step.VOID_FUNDING], worked[Step.RELEASE_STOCK]) == held
        assert not worked[Step.CONSUME_STOCK]


@given(walks, conducts)
def test_what_is_not_limited_never_asks_for_stock(answers: list[tuple[Answer, float]], conduct: Conduct) -> None:
    seen, done = walk(answers, conduct, CHOICE)
    assert not {step for step, _ in done} & OF_STOCK
    assert not {STEPS.get(one.state) for one in seen} & OF_STOCK


@given(walks, conducts)
def test_an_unknown_outcome_is_only_ever_asked_again(answers: list[tuple[Answer, float]], conduct: Conduct) -> None:
    seen, done = walk(answers, conduct)
    doubtful = False
    for step, answer in done:
        if doubtful:
            assert step in (Step.QUERY, Step.ORDER)
        if step in (Step.QUERY, Step.ORDER):
            still = doubtful and answer in (Answer.PENDING, Answer.NOT_SENT)
            doubtful = still or answer in (Answer.UNKNOWN, Answer.NOT_SEEN)
    if doubtful:
        assert seen[-1].status is Status.REVIEW


@given(walks, conducts)
def test_a_provider_is_left_only_before_anything_went_out(
    answers: list[tuple[Answer, float]], conduct: Conduct
) -> None:
    seen, _ = walk(answers, conduct)
    for before, after in pairwise(seen):
        if before.provider != after.provider:
            assert (before.state, after.state) == (State.ORDERING, State.ACCEPTED)
            assert all(one.state is not State.UNKNOWN for one in seen[: seen.index(after)])


@given(walks)
def test_only_a_provider_that_knows_references_gets_an_order_twice(answers: list[tuple[Answer, float]]) -> None:
    _, done = walk(answers, Conduct(idempotent=False, visibility_s=0.0))
    assert sum(step is Step.ORDER and answer is not Answer.NOT_SENT for step, answer in done) <= 1


@given(walks, conducts)
def test_versions_count_what_partners_and_workers_can_tell_apart(
    answers: list[tuple[Answer, float]], conduct: Conduct
) -> None:
    seen, _ = walk(answers, conduct)
    for before, after in pairwise(seen):
        moved = (before.state, before.status) != (after.state, after.status)
        assert after.version - before.version == moved
        if before.state is not after.state:
            assert after.state in {to for (source, _), to in EDGES.items() if source is before.state}
        assert wire.redemption(after).status, "every status has a name on the wire"


@given(walks, conducts)
def test_only_a_definite_refusal_is_what_the_caller_gets(answers: list[tuple[Answer, float]], conduct: Conduct) -> None:
    seen, _ = walk(answers, conduct)
    decision = next((one for one in seen if rules.decided(one)), None)
    if decision is not None:
        said = {State.ACCEPTED: Status.PROCESSING, State.HELD: Status.REVIEW, State.FAILED: Status.FAILED}
        assert decision.status is said[decision.state]
        assert (decision.refusal is not None) == (decision.state is State.FAILED)
    for one in seen:
        assert one.status is not Status.PENDING or one.state in UNDECIDED


@given(walks, conducts)
def test_nothing_is_ordered_that_compliance_has_not_allowed(
    answers: list[tuple[Answer, float]], conduct: Conduct
) -> None:
    seen, done = walk(answers, conduct)
    verdicts = [answer for step, answer in done if step is Step.SCREEN]
    allowed = Answer.DONE in verdicts
    assert allowed or not {step for step, _ in done} & {Step.ORDER, Step.QUERY, Step.CAPTURE_POINTS}
    assert not (allowed and Answer.REFUSED in verdicts)
    assert not any(one.reason.startswith(Step.SCREEN) for one in seen), "why, only the desk is told"


def test_an_order_that_is_not_shown_goes_out_again_only_after_the_visibility_window() -> None:
    unseen = replace(new(), state=State.UNKNOWN, answer=Answer.NOT_SEEN)
    assert rules.step(replace(unseen, sent_s_ago=2.9), PROVIDER) is Step.QUERY
    assert rules.step(replace(unseen, sent_s_ago=3.0), PROVIDER) is Step.ORDER
    assert rules.step(replace(unseen, sent_s_ago=3.0, answer=Answer.UNKNOWN), PROVIDER) is Step.QUERY
    assert rules.step(replace(unseen, state=State.ORDERING, sent_s_ago=9.0), PROVIDER) is Step.QUERY
    assert rules.step(replace(unseen, sent_s_ago=9.0), replace(PROVIDER, idempotent=False)) is Step.QUERY


def test_the_reason_of_a_failure_outlives_the_way_back() -> None:
    ordered = replace(new(), state=State.ORDERING)
    failing = rules.settle(ordered, Reply(Answer.REFUSED, "PROVIDER_OUT_OF_STOCK"))
    failed = rules.settle(rules.settle(failing, Reply(Answer.UNKNOWN, "UNAVAILABLE")), Reply(Answer.DONE))
    assert rules.settle(failed, Reply(Answer.DONE)).reason == "PROVIDER_OUT_OF_STOCK"
    parked = rules.settle(ordered, Reply(Answer.UNKNOWN, "PROVIDER_TIMEOUT"))
    assert (parked.status, parked.reason) == (Status.REVIEW, "PROVIDER_TIMEOUT")
    assert rules.settle(parked, Reply.issued(("A", "B"))).reason == ""
    partial = rules.settle(parked, Reply.issued(("A", None), "PROVIDER_OUT_OF_STOCK"))
    assert rules.settle(partial, Reply(Answer.DONE)).reason == "PROVIDER_OUT_OF_STOCK"


def test_a_step_that_is_refused_with_no_way_on_waits_for_a_person_and_is_taken_again() -> None:
    capturing = replace(new(), state=State.CAPTURING_POINTS)
    stuck = rules.settle(capturing, Reply(Answer.REFUSED, "HOLD_NOT_ACTIVE"))
    assert (stuck.state, stuck.status, stuck.reason) == (State.CAPTURING_POINTS, Status.REVIEW, "HOLD_NOT_ACTIVE")
    assert rules.waits(capturing, stuck)
    assert rules.step(stuck, PROVIDER) is Step.CAPTURE_POINTS
    assert rules.settle(stuck, Reply(Answer.DONE)).status is Status.PROCESSING


@pytest.mark.parametrize("end", [State.FAILED, State.CANCELLED, State.PARTIALLY_FULFILLED])
def test_an_end_stands_and_what_is_issued_after_it_needs_a_person(end: State) -> None:
    one = replace(new(), state=end)
    if end is State.PARTIALLY_FULFILLED:
        one = replace(one, units=(Unit(issued=True, masked="****1234"), Unit(issued=False)))
    assert rules.step(one, PROVIDER) is Step.QUERY
    for nothing in (Reply(Answer.REFUSED), Reply(Answer.UNKNOWN), Reply(Answer.NOT_SEEN)):
        assert rules.settle(one, nothing) == one
    late = rules.settle(one, Reply.issued(("A", "B")))
    assert (late.state, late.units, late.parked, late.version) == (end, one.units, True, one.version + 1)
    assert rules.settle(late, Reply(Answer.REFUSED)) == late, "only a person can say that it is dealt with"
    same = Reply.issued(("A", None))
    assert rules.settle(one, same).parked is (end is not State.PARTIALLY_FULFILLED)


def test_what_a_person_gave_back_is_watched_and_nothing_else() -> None:
    releasing = replace(new(), state=State.RELEASING_FUNDING, reason=rules.REFUNDED_BY_OPERATOR)
    failed = rules.settle(releasing, Reply(Answer.DONE))
    assert rules.look_again_s(releasing, failed, Answer.DONE, 0.0) == rules.WATCH_S[0]
    looks = [
        rules.look_again_s(failed, replace(failed, attempts=attempts), Answer.NOT_SEEN, 0.0) for attempts in range(1, 7)
    ]
    assert looks == [*rules.WATCH_S[1:], None]
    assert rules.look_again_s(failed, failed, Answer.REFUSED, 0.0) is None, "the provider has said no at last"
    refused = replace(failed, reason="PROVIDER_OUT_OF_STOCK")
    assert rules.look_again_s(releasing, refused, Answer.DONE, 0.0) is None
    assert rules.look_again_s(refused, refused, Answer.UNKNOWN, 0.0) is not None, "the provider has called about it"


@given(st.integers(0, 10**9), st.floats(0, 1, exclude_max=True))
def test_the_pauses_grow_to_a_cap_and_are_never_none(attempts: int, chance: float) -> None:
    pause_s = rules.backoff_s(attempts, chance)
    assert 0.25 <= pause_s <= rules.BACKOFF_MAX_S
    assert pause_s <= rules.backoff_s(attempts + 1, chance)


@pytest.mark.parametrize(
    ("reason", "definite"),
    [
        (Reason.INSUFFICIENT_POINTS, True),
        (Reason.MEMBER_NOT_ACTIVE, True),
        (Reason.MEMBER_NOT_FOUND, True),
        (Reason.UNAVAILABLE, False),
        (Reason.TIMEOUT, False),
        (Reason.INTERNAL, False),
        (Reason.CONFLICT, False),
        (Reason.IDEMPOTENCY_IN_FLIGHT, False),
        (Reason.IDEMPOTENCY_KEY_REUSED, False),
        (Reason.PERMISSION_DENIED, False),
    ],
)
def test_which_refusals_are_definite(reason: Reason.ValueType, definite: bool) -> None:  # noqa: FBT001
    assert rules.definite(Refused(reason, "")) is definite
