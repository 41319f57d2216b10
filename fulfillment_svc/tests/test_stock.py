"""Redemptions of what there is only so much of: each unit is sold, put by or there, and never two of these (R5)."""

import asyncio
from typing import Any

import grpc
import pytest
from rewards.fulfillment.v1 import redemptions_pb2 as pb
from rewards.fulfillment.v1 import review_pb2

from fulfillment_svc.redemptions import failpoints
from fulfillment_svc.tests.harness import Harness
from fulfillment_svc.tests.outside import eventually
from fulfillment_svc.tests.refusals import reason
from fulfillment_svc.tests.test_review import act, parked, work
from fulfillment_svc.tests.world import Funds, Stock

FULL, FUNDED = Funds(10_000, 0), Funds(100_000, 0)


async def test_a_unit_is_put_by_before_value_is_held_and_sold_when_it_is_captured(harness: Harness) -> None:
    tenant = await harness.tenant()
    await tenant.limit(3)
    await harness.create(tenant, "k", quantity=2)
    assert await tenant.stock() == Stock(3, 2, 0)
    await harness.finish(await harness.assemble())
    assert await tenant.stock() == Stock(1, 0, 2)
    states = await harness.execute("SELECT state FROM redemption_edges ORDER BY version")
    assert [state for (state,) in states] == [
        "RESERVING",
        "HOLDING_POINTS",
        "HOLDING_FUNDING",
        "SCREENING",
        "ACCEPTED",
        "ORDERING",
        "CAPTURING_POINTS",
        "CAPTURING_FUNDING",
        "CONSUMING",
        "DELIVERING",
        "FULFILLED",
    ]


async def test_the_last_item_goes_to_one_of_fifty_buyers(harness: Harness) -> None:
    tenant = await harness.tenant(points=100_000)
    await tenant.limit(1)

    async def buy(number: int) -> str:
        while True:
            try:
                await harness.create(tenant, f"buyer-{number}")
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                    return error.details() or ""
                # A crowd may be too much for the databases for a moment; the same key is tried again then.
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED):
                    raise
            else:
                return "bought"

    answers = await asyncio.gather(*(buy(number) for number in range(50)))
    assert sorted(set(answers)) == ["This reward is out of stock.", "bought"]
    assert answers.count("bought") == 1
    assert await tenant.stock() == Stock(1, 1, 0)
    assert (await tenant.points(), await tenant.funding()) == (Funds(100_000, 800), Funds(100_000, 1_000))
    await harness.finish(await harness.assemble())
    assert await tenant.stock() == Stock(0, 0, 1)
    loser = answers.index("This reward is out of stock.")
    await tenant.limit(5)
    assert await reason(harness.create(tenant, f"buyer-{loser}")) == "OUT_OF_STOCK", "its key is bound to the answer"


@pytest.mark.parametrize(
    ("funds", "refused"), [({"points": 0}, "INSUFFICIENT_POINTS"), ({"funding": 1}, "INSUFFICIENT_FUNDS")]
)
async def test_a_refused_redemption_gives_its_unit_back(harness: Harness, funds: dict[str, int], refused: str) -> None:
    tenant = await harness.tenant(**funds)
    await tenant.limit(1)
    assert await reason(harness.create(tenant, "k")) == refused
    assert await tenant.stock() == Stock(1, 0, 0)
    assert await harness.execute("SELECT type FROM events") == [], "the caller was told by the refusal"


async def test_a_failed_and_a_cancelled_redemption_give_their_units_back(harness: Harness) -> None:
    tenant = await harness.tenant()
    await tenant.limit(2)
    await harness.provider.fault("reject")
    failing = await harness.create(tenant, "k")
    await harness.finish(await harness.assemble())
    assert (await harness.get(tenant, failing.redemption_id)).status == pb.Redemption.FAILED
    assert await tenant.stock() == Stock(2, 0, 0)
    off = await harness.create(tenant, "l")
    assert await tenant.stock() == Stock(2, 1, 0)
    assert (await harness.cancel(tenant, off.redemption_id)).status == pb.Redemption.CANCELLED
    assert await tenant.stock() == Stock(2, 0, 0)


@pytest.mark.parametrize(("action", "after"), [("Refund", Stock(2, 0, 0)), ("Issue", Stock(1, 0, 1))])
async def test_a_redemption_in_review_keeps_its_unit_until_a_person_decides(
    harness: Harness, action: str, after: Stock
) -> None:
    tenant = await harness.tenant()
    await tenant.limit(2)
    one = await parked(harness, tenant)
    typed: Any = {"items": [review_pb2.IssuedItem(number=1, code="TYPED-CODE-1")]} if action == "Issue" else {}
    await act(harness, action, one, key="a", **typed)
    assert await tenant.stock() == Stock(2, 1, 0)
    await work(harness)
    assert await tenant.stock() == after


async def test_without_its_stock_a_redemption_only_waits(harness: Harness) -> None:
    tenant = await harness.tenant()
    await tenant.limit(1)
    created = await harness.create(tenant, "k")
    failpoints.load("consume-stock.before:raise")
    with pytest.raises(failpoints.Killed):
        await (await harness.assemble()).saga.work()
    await harness.world.catalog.stop()
    await work(harness)
    assert (await harness.get(tenant, created.redemption_id)).status == pb.Redemption.PROCESSING
    await harness.world.start()
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"
    assert await tenant.stock() == Stock(0, 0, 1)


async def test_what_is_not_limited_when_its_units_are_asked_for_needs_none(harness: Harness) -> None:
    tenant = await harness.tenant()
    await tenant.limit(1)
    failpoints.load("begin.after:raise")
    calling = asyncio.create_task(harness.create(tenant, "k"))
    await eventually(lambda: not failpoints.armed())
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    await tenant.limit(None)
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"
