"""Redemptions that end in part, or called off: what is given back, and what a late answer does then."""

import asyncio
import signal
import uuid

import pytest
from rewards.fulfillment.v1 import redemptions_pb2 as pb

from fulfillment_svc.redemptions import failpoints, rules, store
from fulfillment_svc.redemptions.states import Answer, State
from fulfillment_svc.redemptions.store import Then
from fulfillment_svc.redemptions.values import Reply
from fulfillment_svc.tests.harness import Harness, address
from fulfillment_svc.tests.outside import eventually
from fulfillment_svc.tests.refusals import reason
from fulfillment_svc.tests.world import Funds, Stock
from svckit.testing import headers, partner

FULL, FUNDED = Funds(10_000, 0), Funds(100_000, 0)
CANCELLING = [name for name in failpoints.NAMES if name.startswith(("cancel", "void", "release"))]


async def test_what_was_not_issued_is_given_back_item_by_item(harness: Harness) -> None:
    tenant, recipient = await harness.tenant(), address()
    await tenant.limit(5)
    await harness.provider.fault("part_reject")
    created = await harness.create(tenant, "k", recipient=recipient, quantity=3)
    assert [item.points for item in created.items] == [800, 800, 800]
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "PARTIALLY_FULFILLED"
    assert (await tenant.points(), await tenant.funding()) == (Funds(9_200, 0), Funds(99_000, 0))
    assert await tenant.stock() == Stock(4, 0, 1)
    done = await harness.get(tenant, created.redemption_id)
    assert (done.status, done.points, done.points_refunded) == (pb.Redemption.PARTIALLY_FULFILLED, 2_400, 1_600)
    assert done.failure_reason == "PROVIDER_OUT_OF_STOCK"
    assert [item.status for item in done.items] == [pb.Item.ISSUED, pb.Item.REFUNDED, pb.Item.REFUNDED]
    assert [bool(item.code_masked) for item in done.items] == [True, False, False]
    (mail,) = harness.mailbox.mails(recipient.email)
    body = mail.get_body(("plain",))
    assert body.get_content().count("worth 10.00 USD") == 1
    assert "for 800 points" in body.get_content()
    ((payload,),) = await harness.execute("SELECT convert_from(payload, 'UTF8') FROM events")
    assert '"status":"PARTIALLY_FULFILLED"' in payload
    assert '"pointsRefunded":1600' in payload


async def test_a_part_is_asked_for_like_a_whole(harness: Harness) -> None:
    tenant, room = await harness.tenant(), await harness.assemble()
    await harness.provider.fault("part_reject")
    created = await harness.create(tenant, "k", quantity=2)
    failpoints.load("order.after:raise")
    with pytest.raises(failpoints.Killed):
        await room.saga.work()
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "PARTIALLY_FULFILLED"
    assert len(await harness.provider.journal(created.redemption_id)) == 1


async def test_cancelled_before_the_order_gives_everything_back(harness: Harness) -> None:
    tenant = await harness.tenant()
    created = await harness.create(tenant, "k")
    cancelled = await harness.cancel(tenant, created.redemption_id)
    assert (cancelled.status, cancelled.points_refunded) == (pb.Redemption.CANCELLED, 800)
    assert [item.status for item in cancelled.items] == [pb.Item.REFUNDED]
    assert await harness.check(tenant, FULL, FUNDED) == "CANCELLED"
    assert await harness.cancel(tenant, created.redemption_id) == cancelled, "the same key, the same answer"
    assert await reason(harness.cancel(tenant, created.redemption_id, "another")) == "NOT_CANCELLABLE"
    assert await harness.provider.journal(created.redemption_id) == []


async def test_what_the_provider_may_know_of_cannot_be_cancelled(harness: Harness) -> None:
    tenant, room = await harness.tenant(), await harness.assemble()
    await harness.provider.fault("timeout_then_success")
    created = await harness.create(tenant, "k")
    ordering = asyncio.create_task(room.saga.work())
    while not await harness.provider.journal(created.redemption_id):
        assert not ordering.done()
    assert await reason(harness.cancel(tenant, created.redemption_id)) == "NOT_CANCELLABLE"
    await ordering
    assert await reason(harness.cancel(tenant, created.redemption_id)) == "NOT_CANCELLABLE"
    await harness.finish(room)
    assert await reason(harness.cancel(tenant, created.redemption_id)) == "NOT_CANCELLABLE"
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"


async def test_a_worker_that_is_about_to_order_is_overtaken_by_a_cancel(harness: Harness) -> None:
    tenant = await harness.tenant()
    created = await harness.create(tenant, "k")
    failpoints.load("order.before:raise")
    with pytest.raises(failpoints.Killed):
        await (await harness.assemble()).saga.work()
    async with harness.db.read() as tx:
        held = await store.find(tx, tenant.program_id, uuid.UUID(created.redemption_id))
    assert held is not None
    assert held.state is State.ACCEPTED, "a worker has it, and has not sent anything yet"
    assert (await harness.cancel(tenant, created.redemption_id)).status == pb.Redemption.CANCELLED
    sent, then = rules.settle(held, Reply(Answer.SENT)), Then(15, leased=True)
    with pytest.raises(store.LeaseLost):
        await harness.db.transact(lambda tx: store.update_redemption(tx, held, sent, Reply(Answer.SENT), then))
    assert await harness.check(tenant, FULL, FUNDED) == "CANCELLED"


async def test_nobody_cancels_what_is_not_theirs(harness: Harness) -> None:
    tenant, rival = await harness.tenant(), await harness.tenant()
    created = await harness.create(tenant, "k")
    assert await reason(harness.cancel(rival, created.redemption_id)) == "ORDER_NOT_FOUND"
    assert await reason(harness.cancel(tenant, "no-id")) == "ORDER_NOT_FOUND"
    read_only = headers(partner(tenant.program_id, "redemptions:read"), "k")
    request = pb.CancelRedemptionRequest(redemption_id=created.redemption_id)
    assert await reason(harness.stub.CancelRedemption(request, metadata=read_only)) == "PERMISSION_DENIED"


@pytest.mark.parametrize("name", CANCELLING)
async def test_a_crash_on_the_way_to_a_cancel_gives_everything_back_once(harness: Harness, name: str) -> None:
    tenant = await harness.tenant()
    await tenant.limit(1)
    created = await harness.create(tenant, "k")
    failpoints.load(f"{name}:raise")
    calling = asyncio.create_task(harness.cancel(tenant, created.redemption_id))
    await eventually(lambda: calling.done() or not failpoints.armed())
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    assert not failpoints.armed(), "this crash never came"
    if name == "cancel.before":
        await harness.cancel(tenant, created.redemption_id)
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "CANCELLED"
    assert (await harness.cancel(tenant, created.redemption_id)).status == pb.Redemption.CANCELLED
    assert await tenant.stock() == Stock(1, 0, 0)


async def test_a_cancel_while_the_ledger_is_down_is_finished_later(harness: Harness) -> None:
    tenant = await harness.tenant()
    created = await harness.create(tenant, "k")
    await harness.world.ledger.stop(signal.SIGKILL)
    assert await reason(harness.cancel(tenant, created.redemption_id)) == "UNAVAILABLE"
    assert await reason(harness.cancel(tenant, created.redemption_id)) == "IDEMPOTENCY_IN_FLIGHT"
    await harness.world.start()
    await harness.finish(await harness.assemble())
    assert (await harness.cancel(tenant, created.redemption_id)).status == pb.Redemption.CANCELLED
    assert await harness.check(tenant, FULL, FUNDED) == "CANCELLED"


@pytest.mark.parametrize("key", ["k", "another"])
async def test_of_many_cancels_at_once_one_does_it(harness: Harness, key: str) -> None:
    tenant = await harness.tenant()
    created = await harness.create(tenant, "k")
    keys = [key if key == "k" else f"{key}-{number}" for number in range(8)]
    answers = await asyncio.gather(
        *(harness.cancel(tenant, created.redemption_id, one) for one in keys), return_exceptions=True
    )
    assert any(isinstance(answer, pb.Redemption) for answer in answers)
    assert await harness.check(tenant, FULL, FUNDED) == "CANCELLED"
