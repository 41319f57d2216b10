"""What of an order's points goes with each of its items (G72)."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from fulfillment_svc.redemptions.values import Choice, Redemption, Unit

CHOICE = Choice("coffee-10", 3, "Coffee", "Kaffa", 2, 1000, "USD", 1600)


@given(st.integers(1, 2**40), st.integers(1, 10), st.data())
def test_the_shares_of_the_points_sum_up_and_differ_by_one_at_most(
    points: int, items: int, data: st.DataObject
) -> None:
    choice = replace(CHOICE, points=points, quantity=items)
    assert sum(choice.shares) == points
    assert max(choice.shares) - min(choice.shares) <= 1
    issued = data.draw(st.lists(st.booleans(), min_size=items, max_size=items))
    units = tuple(Unit(issued=is_issued) for is_issued in issued)
    one = Redemption("acme", uuid.uuid4(), "m_1", choice, "sandbox", "k", datetime(2026, 1, 1, tzinfo=UTC), units)
    given_back = sum(share for share, is_issued in zip(choice.shares, issued, strict=True) if not is_issued)
    assert one.issued_points + given_back == points
    assert one.issued_minor == 1000 * sum(issued)
