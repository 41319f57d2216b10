"""When a delivery is tried again, and what an event looks like."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fulfillment_svc.webhooks.rules import (
    JITTER,
    PAUSE_MAX,
    SCHEDULE,
    Answer,
    Event,
    Status,
    is_object,
    judge,
    payload,
    subscribed,
)

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)

answers = st.builds(
    Answer,
    st.sampled_from([0, 200, 204, 299, 301, 302, 307, 400, 404, 410, 429, 500, 503]),
    st.none() | st.timedeltas(timedelta(days=-1), timedelta(days=400)),
)


def test_the_schedule_lasts_for_75_hours() -> None:
    assert len(SCHEDULE) == 10
    assert sum(SCHEDULE, timedelta(0)) == timedelta(hours=75, minutes=35, seconds=5)


@given(answers, st.integers(1, 12), st.floats(0, 1, exclude_max=True))
def test_an_attempt_ends_a_delivery_or_has_a_successor_in_time(answer: Answer, attempts: int, chance: float) -> None:
    verdict = judge(answer, attempts, AT, chance)
    assert (verdict.status is Status.PENDING) == (verdict.due_at is not None)
    assert (verdict.status is Status.DELIVERED) == (200 <= answer.http_status < 300)
    assert verdict.disables == (answer.http_status == 410)
    if verdict.due_at is not None:
        assert attempts < len(SCHEDULE)
        latest = max(SCHEDULE[attempts] * (1 + JITTER), PAUSE_MAX)
        assert AT + SCHEDULE[attempts] <= verdict.due_at <= AT + latest
        assert verdict.quiet_until is None or verdict.quiet_until <= verdict.due_at


@pytest.mark.parametrize(("attempts", "wait_s"), [(1, 5), (2, 300), (3, 1_800), (9, 86_400)])
def test_a_failure_waits_for_its_turn(attempts: int, wait_s: int) -> None:
    assert judge(Answer(500), attempts, AT, 0).due_at == AT + timedelta(seconds=wait_s)
    assert judge(Answer(500), attempts, AT, 0.5).due_at == AT + timedelta(seconds=wait_s) * 1.05


def test_the_tenth_failure_is_the_last() -> None:
    assert judge(Answer(500), 9, AT, 0).status is Status.PENDING
    assert judge(Answer(), 10, AT, 0).status is Status.FAILED


@pytest.mark.parametrize("status", [429, 503])
def test_an_endpoint_that_asks_for_a_pause_gets_it(status: int) -> None:
    verdict = judge(Answer(status, timedelta(minutes=10)), 1, AT, 0)
    assert verdict.due_at == verdict.quiet_until == AT + timedelta(minutes=10)
    bounded = judge(Answer(status, timedelta(days=400)), 1, AT, 0)
    assert bounded.due_at == AT + timedelta(days=1)
    short = judge(Answer(status, timedelta(seconds=1)), 1, AT, 0)
    assert (short.due_at, short.quiet_until) == (AT + timedelta(seconds=5), AT + timedelta(seconds=1))


def test_no_other_answer_asks_for_a_pause() -> None:
    assert judge(Answer(500, timedelta(minutes=10)), 1, AT, 0).quiet_until is None


def test_an_endpoint_gets_its_types_or_all() -> None:
    assert subscribed([], "points.earned")
    assert subscribed(["points.redeemed", "points.earned"], "points.earned")
    assert not subscribed(["points.redeemed"], "points.earned")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    data=st.dictionaries(st.text(), _json, max_size=4),
    member_id=st.text(st.characters(exclude_categories=["Cs"])),
    live=st.booleans(),
)
def test_a_payload_is_json_with_its_data_untouched(data: dict[str, object], member_id: str, *, live: bool) -> None:
    text = json.dumps(data)
    event = Event(UUID(int=7), "points.earned", AT, "acme", live, member_id, text)
    body = payload(event, 42)
    assert json.loads(body) == {
        "id": "00000000-0000-0000-0000-000000000007",
        "type": "points.earned",
        "createdAt": "2026-03-01T12:00:00Z",
        "programId": "acme",
        "livemode": live,
        "memberId": member_id or None,
        "sequence": 42,
        "data": data,
    }
    assert body.endswith(f'"data":{text}}}'.encode())


@pytest.mark.parametrize("text", ["", "[]", "1", '"x"', "{", '{"a":NaN}', '{"a":Infinity}', "{'a':1}", "{}x"])
def test_what_is_no_object_is_no_data(text: str) -> None:
    assert not is_object(text)
