"""Fees: disclosed before, held with the value, and paid in proportion to what is issued."""

from hypothesis import given
from hypothesis import strategies as st
from rewards.identity.v1.programs_pb2 import Fee

from fulfillment_svc import shares
from fulfillment_svc.tests.harness import Harness
from fulfillment_svc.tests.refusals import reason
from fulfillment_svc.tests.test_parts_and_cancelling import FULL, FUNDED

# Of 10 dollars, 2.5 percent and 33 cents are 58 cents.
FEES = [Fee(currency="EUR", basis_points=10_000), Fee(currency="USD", basis_points=250, fixed_minor=33)]


@given(st.integers(0, 10**6), st.integers(1, 10))
def test_shares_of_equal_items_sum_up_and_differ_by_one_at_most(total: int, items: int) -> None:
    parts = shares.split(total, items)
    assert (sum(parts), len(parts)) == (total, items)
    assert max(parts) - min(parts) <= 1


@given(st.integers(0, 10**6), st.lists(st.integers(1, 10**5), min_size=1, max_size=12), st.integers(0, 10**5))
def test_what_falls_to_parts_is_in_proportion_and_sums_up(total: int, taken: list[int], never: int) -> None:
    whole = sum(taken) + never
    left, parts = whole, []
    for amount in taken:
        parts.append(shares.of_part(total, whole, left, amount))
        assert abs(parts[-1] - total * amount / whole) < 1
        left -= amount
    assert sum(parts) + total * left // whole == total


async def test_a_fee_is_paid_on_what_is_issued(harness: Harness) -> None:
    tenant = await harness.tenant(fees=FEES)
    await harness.create(tenant, "k", quantity=2)
    assert (await tenant.funding()).held == 2 * (1_000 + 58)
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"
    found = await tenant.statement()
    assert (found.spent, found.fees, found.reserved, found.closing) == (-20, -1.16, 0, 978.84)


async def test_a_fee_is_given_back_with_what_is_not_issued(harness: Harness) -> None:
    tenant = await harness.tenant(fees=FEES)
    await harness.provider.fault("part_reject")
    await harness.create(tenant, "k", quantity=3)
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "PARTIALLY_FULFILLED"
    found = await tenant.statement()
    assert (found.spent, found.fees, found.reserved, found.closing) == (-10, -0.58, 0, 989.42)


async def test_a_redemption_that_is_called_off_pays_no_fee(harness: Harness) -> None:
    tenant = await harness.tenant(fees=FEES)
    created = await harness.create(tenant, "k")
    await harness.cancel(tenant, created.redemption_id)
    assert await harness.check(tenant, FULL, FUNDED) == "CANCELLED"
    assert (await tenant.statement()).fees == 0


async def test_a_fee_that_the_funding_does_not_cover_is_not_covered(harness: Harness) -> None:
    tenant = await harness.tenant(fees=FEES, funding=10.57)
    assert await reason(harness.create(tenant, "k")) == "INSUFFICIENT_FUNDS"
