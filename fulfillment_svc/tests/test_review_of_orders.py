"""Orders at the review desk: what no worker can go on with has an age, a stake and a history, and a person decides."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from rewards.fulfillment.v1 import orders_pb2, review_pb2
from rewards.fulfillment.v1.review_pb2 import Review
from sqlalchemy.exc import ProgrammingError

from fulfillment_svc.orders import store as orders
from fulfillment_svc.redemptions.states import Answer
from fulfillment_svc.redemptions.store import LeaseLost
from fulfillment_svc.redemptions.values import Reply
from fulfillment_svc.tests.harness import Harness
from fulfillment_svc.tests.ordering import Ordering, mail_address, ordering, outcome
from fulfillment_svc.tests.refusals import reason
from fulfillment_svc.tests.test_fees import FEES
from fulfillment_svc.tests.test_review import act as act_on_redemption
from fulfillment_svc.tests.test_review import desk, operator, parked, work
from fulfillment_svc.tests.world import Funds

FULL = Funds(100_000, 0)
NOWHERE = "ada@mail.invalid"
BY_MAIL: dict[str, Any] = {"delivery": orders_pb2.Order.EMAIL}


async def refused(mine: Ordering, key: str = "k", **changes: Any) -> orders_pb2.Order:
    """An order whose mail the mail server has refused for good."""
    order = await mine.create(key, recipient_email=NOWHERE, **BY_MAIL, **changes)
    assert await _work(mine) == 1
    return order


async def at_desk(mine: Ordering) -> Review:
    """The one that is there."""
    (one,) = (await desk(mine.harness, mine.tenant)).reviews
    return one


async def act(mine: Ordering, verb: str, order: orders_pb2.Order, key: str = "a", **more: Any) -> Review:
    named = {"program_id": mine.tenant.program_id, "order_id": order.order_id, "evidence": "ticket 7"}
    request = getattr(review_pb2, f"{verb}ReviewRequest")(**(named | more))
    answer = await getattr(mine.harness.desk, f"{verb}Review")(request, metadata=operator(key))
    found: Review = answer.review
    return found


async def claim(mine: Ordering, order: orders_pb2.Order) -> None:
    """Claims 12.50 by the link that whoever ordered has handed on. The mail of that is refused as well, and done
    without."""
    await mine.claim(order, "c")
    await work(mine.harness)
    (one,) = [one for one in (await desk(mine.harness, mine.tenant)).reviews if one.redemption_id]
    assert (one.state, one.reason) == ("DELIVERING", "MAIL_REFUSED")
    await act_on_redemption(mine.harness, "Release", one, key="claim")


async def told(mine: Ordering, order: orders_pb2.Order) -> list[str]:
    """The states and actions of an order, oldest first."""
    request = review_pb2.GetReviewRequest(program_id=mine.tenant.program_id, order_id=order.order_id)
    found = await mine.harness.desk.GetReview(request, metadata=operator())
    return [entry.state or Review.Action.Name(entry.action) for entry in found.history]


async def test_an_order_whose_mail_is_refused_is_on_the_desk_beside_redemptions(harness: Harness) -> None:
    mine = await ordering(harness, fees=FEES)
    order = await refused(mine)
    read = await mine.get(order)
    assert (read.status, read.failure_reason) == (orders_pb2.Order.REVIEW, "MAIL_REFUSED")
    one = await at_desk(mine)
    assert (one.order_id, one.redemption_id, one.kind) == (order.order_id, "", Review.STEP_REFUSED)
    assert (one.state, one.reason, one.currency) == ("INVITING", "MAIL_REFUSED", "USD")
    held = (await mine.tenant.funding()).held
    assert (one.value_minor, one.points) == (held, 0)
    assert held > 2_500, "its fee is held with it"
    assert list(one.actions) == [Review.QUERY, Review.READDRESS, Review.RELEASE, Review.REFUND]
    assert await told(mine, order) == ["HOLDING", "INVITING", "INVITING"]
    await harness.execute("UPDATE orders SET parked_at = parked_at - interval '1 hour'")
    redeemed = await parked(harness, mine.tenant)
    listed = await desk(harness, mine.tenant)
    assert [review.order_id or review.redemption_id for review in listed.reviews] == [
        order.order_id,
        redeemed.redemption_id,
    ]
    assert 3_600 <= listed.reviews[0].age_s < 3_700
    (stake,) = listed.exposures
    assert (stake.reviews, stake.points, stake.value_minor) == (2, 800, held + redeemed.value_minor)
    first = await desk(harness, mine.tenant, page_size=1)
    second = await desk(harness, mine.tenant, page_size=1, page_token=first.next_page_token)
    assert [*first.reviews, *second.reviews] == list(listed.reviews)


async def test_a_corrected_address_gets_the_same_link(harness: Harness) -> None:
    mine, to = await ordering(harness), mail_address()
    order = await refused(mine)
    since = await at_desk(mine)
    assert await reason(act(mine, "Readdress", order, email="a..b@example.com")) == "RECIPIENT_INVALID"
    again = await act(mine, "Readdress", order, key="b", email="ada@other.invalid")
    assert again.state == "INVITING"
    assert await _work(mine) == 1
    still = await at_desk(mine)
    assert (still.reason, still.parked_at) == ("MAIL_REFUSED", since.parked_at), "it has waited since then"
    await act(mine, "Readdress", order, key="c", email=to)
    assert await _work(mine) == 1
    (mail,) = harness.mailbox.mails(to)
    assert order.redemption_url in mail.get_body(("plain",)).get_content()
    assert (await mine.get(order)).status == orders_pb2.Order.PENDING
    assert (await desk(harness, mine.tenant)).reviews == []
    assert await told(mine, order) == ["HOLDING", "INVITING", "INVITING", "READDRESS", "READDRESS", "OPEN"]
    kept = await harness.execute(
        "SELECT h::text FROM order_history h UNION ALL SELECT encode(body, 'escape') FROM idempotency_keys"
    )
    assert not any(to in row or "invalid" in row for (row,) in kept), "an address is nowhere but sealed"
    await mine.claim(order, "c")
    await mine.finish()
    assert len(harness.mailbox.mails(to)) == 2, "what is claimed is mailed there too"
    await mine.check(FULL)


async def test_what_a_worker_did_with_the_old_address_is_not_stored(harness: Harness) -> None:
    mine, to = await ordering(harness), mail_address()
    order = await refused(mine)
    late = await harness.db.transact(lambda tx: orders.lock(tx, mine.tenant.program_id, UUID(order.order_id)))
    assert late is not None
    await act(mine, "Readdress", order, email=to)
    ordered = await harness.assemble_orders(await harness.assemble())
    with pytest.raises(LeaseLost):
        await harness.db.transact(lambda tx: ordered.saga.store(tx, late, Reply(Answer.DONE), 0.0))
    assert await _work(mine) == 1
    assert len(harness.mailbox.mails(to)) == 1


@pytest.mark.parametrize("claimed", [False, True])
async def test_an_order_that_reaches_nobody_is_called_off(harness: Harness, claimed: bool) -> None:  # noqa: FBT001
    mine = await ordering(harness)
    order = await refused(mine)
    if claimed:
        await claim(mine, order)
    refunded = await act(mine, "Refund", order, evidence="the partner withdraws it")
    assert (refunded.state, refunded.kind) == ("CANCELLING", Review.KIND_UNSPECIFIED)
    assert await outcome(mine.claim(order, "late")) == "CLAIM_GONE"
    await mine.finish()
    read = await mine.get(order)
    assert (read.status, read.failure_reason) == (orders_pb2.Order.CANCELLED, "REFUNDED_BY_OPERATOR")
    assert read.returned == (12.5 if claimed else 25)
    assert "order.cancelled" in await mine.events()
    assert (await told(mine, order))[-3:] == ["REFUND", "CANCELLING", "CANCELLED"]
    await mine.check(FULL)


async def test_an_order_goes_on_without_its_mail(harness: Harness) -> None:
    mine = await ordering(harness)
    order = await refused(mine, value=12.5)
    released = await act(mine, "Release", order, evidence="the partner hands on the link")
    assert (released.state, list(released.actions)) == ("OPEN", [])
    read = await mine.get(order)
    assert (read.status, read.failure_reason) == (orders_pb2.Order.PENDING, "")
    await claim(mine, order)
    await mine.finish()
    assert (await mine.get(order)).status == orders_pb2.Order.REDEEMED
    await mine.check(FULL)


@pytest.mark.parametrize("end", ["claimed", "expired", "cancelled"])
async def test_an_order_leaves_the_desk_when_it_needs_nobody_any_more(harness: Harness, end: str) -> None:
    mine = await ordering(harness)
    order = await refused(mine, value=12.5)
    if end == "claimed":
        await claim(mine, order)
    elif end == "expired":
        await harness.execute("UPDATE orders SET expires_at = now() - interval '1 hour'")
        await mine.expire()
    else:
        await mine.cancel(order)
    await mine.finish()
    assert (await desk(harness, mine.tenant)).reviews == []
    assert await reason(act(mine, "Release", order)) == "CONFLICT"
    await mine.check(FULL)


async def test_a_rest_that_cannot_go_back_waits_for_a_person(harness: Harness) -> None:
    mine = await ordering(harness)
    order = await mine.create()
    ((hold_id,),) = await harness.execute("SELECT hold_id FROM orders")
    await mine.tenant.void(str(hold_id))
    await mine.cancel(order)
    assert await _work(mine) == 1
    one = await at_desk(mine)
    assert (one.state, one.reason, list(one.actions)) == (
        "CANCELLING",
        "HOLD_NOT_ACTIVE",
        [Review.QUERY, Review.RELEASE],
    )
    assert await reason(act(mine, "Refund", order)) == "CONFLICT"
    await act(mine, "Release", order, evidence="the hold was voided by hand, ticket 9")
    assert (await mine.get(order)).status == orders_pb2.Order.CANCELLED
    assert await mine.events() == ["order.cancelled"]
    assert (await desk(harness, mine.tenant)).reviews == []


async def test_a_key_is_one_action_of_one_operator_and_stays(harness: Harness) -> None:
    mine = await ordering(harness)
    order = await refused(mine)
    results = await asyncio.gather(
        act(mine, "Refund", order, key="a"), act(mine, "Release", order, key="b"), return_exceptions=True
    )
    assert sum(isinstance(result, Review) for result in results) == 1
    done = "Refund" if isinstance(results[0], Review) else "Release"
    again = await act(mine, done, order, key="a" if done == "Refund" else "b")
    assert again in results
    kept = await harness.execute("SELECT actor, evidence FROM order_history WHERE action IS NOT NULL")
    assert kept == [("op_kim", "ticket 7")]
    for statement in ("UPDATE order_history SET actor = 'x'", "DELETE FROM order_history"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            await harness.execute(statement)


async def test_what_makes_no_sense_is_refused(harness: Harness) -> None:
    mine, rival = await ordering(harness), await ordering(harness)
    order = await mine.create()
    assert await reason(act(mine, "Release", order)) == "CONFLICT", "it needs nobody"
    assert await reason(act(rival, "Refund", order)) == "ORDER_NOT_FOUND"
    assert await reason(act(mine, "Refund", order, redemption_id=order.order_id)) == "INVALID_REQUEST"
    assert await reason(act(mine, "Refund", order, order_id="")) == "INVALID_REQUEST"
    assert await reason(act(mine, "Refund", order, evidence="")) == "INVALID_REQUEST"


async def _work(mine: Ordering) -> int:
    """A worker's step of orders."""
    await mine.harness.execute("UPDATE orders SET due_at = now() WHERE due_at IS NOT NULL")
    ordered = await mine.harness.assemble_orders(await mine.harness.assemble())
    return await ordered.saga.work()
