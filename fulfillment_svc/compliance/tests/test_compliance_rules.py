"""What rules say of recipients, whatever they are sent."""

import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fulfillment_svc.compliance import Effect, Subject
from fulfillment_svc.compliance.rules import Limit, Rules, decide, recipient

countries = st.sampled_from(["DE", "GB", "KE", "US"])
currencies = st.sampled_from(["EUR", "USD"])
values = st.integers(1, 2_000)
limits = st.builds(
    Limit,
    currency=currencies,
    value_minor=values,
    days=st.integers(1, 30),
    over=st.sampled_from([Effect.HOLD, Effect.REFUSE]),
)
rules_of_a_program = st.builds(
    Rules, allowed=st.frozensets(countries), blocked=st.frozensets(countries), limits=st.lists(limits).map(tuple)
)
subjects = st.builds(
    Subject,
    program_id=st.just("acme"),
    check_id=st.just(uuid.uuid4()),
    email=st.just("ada@example.com"),
    country=countries,
    currency=currencies,
    value_minor=values,
)
# On which day each of them is.
days = st.lists(st.tuples(st.integers(0, 60), subjects), max_size=30).map(lambda sent: sorted(sent, key=lambda s: s[0]))
HARSHNESS = [Effect.ALLOW, Effect.HOLD, Effect.REFUSE]


def spent(rules: Rules, subject: Subject, day: int, passed: list[tuple[int, Subject]]) -> dict[int, int]:
    """What counts at a day's check, in each limit's days, of what passed before."""
    return {
        limit.days: sum(
            one.value_minor for at, one in passed if at > day - limit.days and one.currency == subject.currency
        )
        for limit in rules.of(subject.currency)
    }


@given(rules_of_a_program, days)
def test_nobody_gets_more_than_a_limit_lets_in_any_of_its_days(rules: Rules, sent: list[tuple[int, Subject]]) -> None:
    passed: list[tuple[int, Subject]] = []
    for day, subject in sent:
        verdict = decide(rules, subject, spent(rules, subject, day, passed))
        if verdict.effect is Effect.ALLOW:
            passed.append((day, subject))
    for limit in rules.limits:
        for last, _ in passed:
            window = range(last - limit.days + 1, last + 1)
            got = sum(one.value_minor for at, one in passed if at in window and one.currency == limit.currency)
            assert got <= limit.value_minor


@given(rules_of_a_program, subjects, st.integers(0, 3_000))
def test_a_country_that_is_not_allowed_is_refused_whatever_else(rules: Rules, subject: Subject, before: int) -> None:
    verdict = decide(rules, subject, {limit.days: before for limit in rules.limits})
    shut = subject.country in rules.blocked or (bool(rules.allowed) and subject.country not in rules.allowed)
    assert verdict.reason.startswith("COUNTRY") is shut
    assert verdict.effect is Effect.REFUSE or not shut


@given(rules_of_a_program, subjects, st.integers(0, 3_000), limits)
def test_one_more_limit_never_makes_a_verdict_milder(rules: Rules, subject: Subject, before: int, more: Limit) -> None:
    stricter = replace(rules, limits=(*rules.limits, more))
    counted = {limit.days: before for limit in stricter.limits}
    mild, harsh = decide(rules, subject, counted), decide(stricter, subject, counted)
    assert HARSHNESS.index(harsh.effect) >= HARSHNESS.index(mild.effect)


@given(subjects)
def test_without_rules_everything_passes(subject: Subject) -> None:
    assert decide(Rules(), subject, {}).effect is Effect.ALLOW


@pytest.mark.parametrize(
    "written", ["Ada@Example.com", "ada+gifts@example.com", "ADA+2@EXAMPLE.COM", "\uff41da@example.com"]
)
def test_one_mailbox_is_one_recipient_however_it_is_written(written: str) -> None:
    assert recipient(b"k", "acme", written) == recipient(b"k", "acme", "ada@example.com")


def test_a_recipient_is_known_only_to_who_has_the_key_and_only_in_a_program() -> None:
    known = recipient(b"k", "acme", "ada@example.com")
    others = recipient(b"l", "acme", "ada@example.com"), recipient(b"k", "rival", "ada@example.com")
    assert known not in (
        *others,
        recipient(b"k", "acme", "bob@example.com"),
        recipient(b"k", "acme", "ada@example.org"),
    )
    assert b"ada" not in known
