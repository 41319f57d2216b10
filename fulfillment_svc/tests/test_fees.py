"""Fees: disclosed before, held with the value, and paid in proportion to what is issued."""

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from rewards.fulfillment.v1 import orders_pb2 as pb
from rewards.identity.v1.programs_pb2 import Fee

from fulfillment_svc import shares
from fulfillment_svc.orders import rules
from fulfillment_svc.orders.states import Delivery
from fulfillment_svc.orders.values import Order
from fulfillment_svc.redemptions.values import Choice, Redemption, Unit
from fulfillment_svc.tests.harness import Harness
from fulfillment_svc.tests.ordering import ordering
from fulfillment_svc.tests.refusals import reason
from fulfillment_svc.tests.test_parts_and_cancelling import FULL, FUNDED

# Of 10 dollars, 2.5 percent and 33 cents are 58 cents.
FEES = [Fee(currency="EUR", basis_points=10_000), Fee(currency="USD", basis_points=250, fixed_minor=33)]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


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


@given(st.integers(0, 10**6), st.lists(st.integers(1, 10**5), min_size=1, max_size=12), st.integers(0, 10**5))
def test_claims_pay_an_orders_fee_and_what_is_left_of_it_is_given_back(fee: int, claims: list[int], left: int) -> None:
    order = _order(sum(claims) + left, fee)
    held = order.value_minor + order.fee_minor
    for amount in claims:
        claim = _claim(order, amount)
        held -= amount + rules.fee_minor(order, claim)
        order = replace(order, redeemed_minor=order.redeemed_minor + amount)
        assert held >= order.value_minor - order.redeemed_minor, "a claim must not live off another's value"
    assert held - left == fee * left // order.value_minor
    assert left or not held


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


async def test_an_order_pays_its_fee_claim_by_claim_and_gives_the_rest_back(harness: Harness) -> None:
    mine = await ordering(harness, fees=FEES)
    order = await mine.create(value=37.5)
    # Of 37.50, 2.5 percent and 33 cents are 127 cents.
    assert (order.fees, (await mine.tenant.funding()).held) == (1.27, 3_750 + 127)
    await asyncio.gather(mine.claim(order, "a"), mine.claim(order, "b"))
    await mine.finish()
    assert (await mine.tenant.funding()).held == 1_250 + 42
    await mine.check(FUNDED)
    await mine.cancel(order)
    await mine.finish()
    await mine.check(FUNDED)
    read = await mine.get(order)
    assert (read.status, read.fees, read.returned) == (pb.Order.CANCELLED, 1.27, 12.5)
    found = await mine.tenant.statement()
    assert (found.spent, found.fees, found.reserved, found.closing) == (-25, -0.85, 0, 974.15)


async def test_an_order_that_the_funding_covers_without_its_fee_is_not_covered(harness: Harness) -> None:
    mine = await ordering(harness, fees=FEES, funding=25.95)
    assert await reason(mine.create()) == "INSUFFICIENT_FUNDS"


def _order(value_minor: int, fee_minor: int) -> Order:
    return Order(
        program_id="acme",
        order_id=uuid.uuid4(),
        value_minor=value_minor,
        currency="USD",
        delivery=Delivery.LINK,
        menu=b"",
        choice=None,
        token_hash=b"",
        expires_at=None,
        created_at=NOW,
        idempotency_key="k",
        traceparent="",
        remaining_minor=value_minor,
        fee_minor=fee_minor,
    )


def _claim(order: Order, value_minor: int) -> Redemption:
    choice = Choice("coffee", 1, "Coffee", "Kaffa", 1, value_minor, "USD", 0)
    return Redemption(
        "acme", uuid.uuid4(), "", choice, "sandbox", "k", NOW, (Unit(issued=True),), order_id=order.order_id
    )
