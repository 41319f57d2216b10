"""Whether a menu can spend a value to the last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fulfillment_svc.orders.spending import PARTS_MAX, Offer, spendable, unspendable

CARD, RANGE = Offer(1_000, 1_000, 1_000), Offer(500, 2_000, 250)


@pytest.mark.parametrize(
    ("value", "offers", "possible"),
    [
        (1_000, [CARD], True),
        (3_000, [CARD], True),
        (2_500, [CARD], False),
        (400, [RANGE], False),
        (1_750, [RANGE], True),
        (1_800, [RANGE], False),
        (2_250, [CARD, RANGE], True),
        (2_500, [CARD, Offer(1_500, 1_500, 1_500)], True),
        (1_000 * PARTS_MAX, [CARD], True),
        (1_000 * (PARTS_MAX + 1), [CARD], False),
        (10**15, [CARD, RANGE], False),
        (1_000, [], False),
        # In cents and with an odd value, as wide as menus get.
        (1_999_999, [Offer(1, 100_000, 1), Offer(100_001, 100_001, 1)], True),
        (1_999_999, [Offer(99_999, 99_999, 99_999), Offer(100_001, 100_001, 1)], False),
    ],
)
def test_a_value_is_spent_to_the_last_or_not_at_all(value: int, offers: list[Offer], possible: bool) -> None:  # noqa: FBT001
    assert spendable(value, offers) is possible


@given(
    st.integers(1, 60),
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 5), st.integers(1, 4)), max_size=3),
)
def test_it_is_as_trying_everything_says(value: int, drawn: list[tuple[int, int, int]]) -> None:
    offers = [Offer(least, least + steps * step, step) for least, steps, step in drawn]
    sold = {amount for one in offers for amount in range(one.least, one.most + 1, one.step)}
    sums = {0}
    for _ in range(PARTS_MAX):
        sums |= {total + amount for total in sums for amount in sold if total + amount <= value}
    assert spendable(value, offers) is (value in sums)


def test_why_not_is_said() -> None:
    assert "least" in unspendable(100, [CARD])
    assert "sum up" in unspendable(2_500, [CARD])
