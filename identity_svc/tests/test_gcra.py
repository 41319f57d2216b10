"""The arithmetic of limits, for all limits and all patterns of calls."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from identity_svc.limits.gcra import Decision, Limit, decide

LIMITS = st.builds(Limit, per_second=st.integers(1, 5_000), burst=st.integers(1, 1_000))
GAPS_S = st.one_of(st.just(0.0), st.floats(0, 0.01), st.floats(0, 5))
CALLS = st.lists(st.tuples(GAPS_S, st.integers(1, 20)), max_size=200)


@dataclass
class Bucket:
    """A bucket on a clock of its own."""

    limit: Limit
    now_s: float = 0.0
    empty_at_s: float = 0.0

    def call(self, gap_s: float, cost: int) -> Decision:
        self.now_s += gap_s
        decision = decide(self.limit, self.empty_at_s - self.now_s, cost)
        self.empty_at_s = self.now_s + decision.backlog_s
        return decision


@given(LIMITS, CALLS)
def test_in_any_window_at_most_the_rate_and_one_burst_pass(limit: Limit, calls: list[tuple[float, int]]) -> None:
    bucket, passed = Bucket(limit), []
    for gap_s, cost in calls:
        decision = bucket.call(gap_s, cost)
        if decision.allowed:
            passed.append((bucket.now_s, decision.cost))
    for first, (start_s, _) in enumerate(passed):
        total = 0
        for end_s, cost in passed[first:]:
            total += cost
            assert total <= limit.per_second * (end_s - start_s) + limit.burst + 0.01


@given(LIMITS, CALLS)
def test_a_refusal_consumes_nothing(limit: Limit, calls: list[tuple[float, int]]) -> None:
    with_refused, without = Bucket(limit), Bucket(limit)
    for gap_s, cost in calls:
        decision = with_refused.call(gap_s, cost)
        if decision.allowed:
            without.now_s = with_refused.now_s
            assert without.call(0, cost).allowed
            assert abs(without.empty_at_s - with_refused.empty_at_s) < 1e-6


@given(LIMITS, CALLS, st.integers(1, 20))
def test_who_waits_as_told_passes(limit: Limit, calls: list[tuple[float, int]], cost: int) -> None:
    bucket = Bucket(limit)
    for gap_s, used in calls:
        bucket.call(gap_s, used)
    refused = bucket.call(0, cost)
    if not refused.allowed:
        assert bucket.call(refused.retry_after_s, cost).allowed


@given(LIMITS, CALLS)
def test_what_is_said_to_remain_passes_and_no_more(limit: Limit, calls: list[tuple[float, int]]) -> None:
    bucket = Bucket(limit)
    last = bucket.call(0, 1)
    for gap_s, cost in calls:
        last = bucket.call(gap_s, cost)
    assert all(bucket.call(0, 1).allowed for _ in range(last.remaining))
    assert not bucket.call(0, 1).allowed


@given(LIMITS, CALLS)
def test_after_the_reset_the_whole_burst_may_come(limit: Limit, calls: list[tuple[float, int]]) -> None:
    bucket = Bucket(limit)
    last = bucket.call(0, 1)
    for gap_s, cost in calls:
        last = bucket.call(gap_s, cost)
    bucket.now_s += last.reset_s
    assert bucket.call(0, limit.burst).allowed


def test_a_call_dearer_than_the_burst_needs_a_full_bucket() -> None:
    bucket = Bucket(Limit(per_second=10, burst=5))
    assert bucket.call(0, 50).allowed
    refused = bucket.call(0.4, 50)
    assert (refused.allowed, refused.retry_after_s) == (False, 1)
    assert bucket.call(0.1, 50).allowed


def test_a_clock_set_back_costs_no_more_than_an_empty_bucket() -> None:
    refused = decide(Limit(per_second=10, burst=5), 3_600.0, 1)
    assert (refused.allowed, refused.remaining, refused.retry_after_s) == (False, 0, 1)
