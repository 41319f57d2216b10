"""A crash at every boundary of every step (F5): whoever goes on from there ends it once, and rightly."""

import asyncio

import pytest
from rewards.fulfillment.v1 import redemptions_pb2 as pb

from fulfillment_svc.redemptions import failpoints
from fulfillment_svc.tests.harness import Harness, address
from fulfillment_svc.tests.outside import eventually
from fulfillment_svc.tests.refusals import reason
from fulfillment_svc.tests.world import Funds, Stock, Tenant

# What the provider must do for a step to be taken at all.
FAULTS = {
    "query": "error_after_accept",
    "void-points": "reject",
    "void-funding": "reject",
    "release-stock": "reject",
}
ON_THE_WAY_TO_A_REFUSAL = ("begin", "reserve", "hold", "void-points", "release")
REFUSED = [name for name in failpoints.NAMES if name.startswith(("screen", "void", "release"))]
DECLINED = [name for name in failpoints.NAMES if name.startswith(ON_THE_WAY_TO_A_REFUSAL)]


async def crash(harness: Harness, tenant: Tenant, name: str, recipient: pb.Recipient) -> None:
    """Calls for one of three, dies at the failpoint on the way, and has another worker finish."""
    await tenant.limit(3)
    failpoints.load(f"{name}:raise")
    # A call whose server dies is never answered, so the caller hangs up once that has happened.
    calling = asyncio.create_task(harness.create(tenant, "k", recipient=recipient))
    await eventually(lambda: calling.done() or not failpoints.armed())
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    await harness.finish(await harness.assemble())
    assert not failpoints.armed(), "this crash never came"


@pytest.mark.parametrize("name", [name for name in failpoints.NAMES if not name.startswith(("cancel", "review"))])
async def test_a_crash_anywhere_leaves_nothing_half_done(harness: Harness, name: str) -> None:
    tenant, recipient = await harness.tenant(), address()
    fault = FAULTS.get(name.split(".", maxsplit=1)[0])
    if fault:
        await harness.provider.fault(fault)
    await crash(harness, tenant, name, recipient)
    redemption, _ = await harness.replayed(tenant, "k", recipient=recipient)
    await harness.finish(await harness.assemble())
    state = await harness.check(tenant, Funds(10_000, 0), Funds(100_000, 0))
    assert state == ("FAILED" if fault == "reject" else "FULFILLED")
    assert await tenant.stock() == (Stock(2, 0, 1) if state == "FULFILLED" else Stock(3, 0, 0))
    sent = {mail["Message-ID"] for mail in harness.mailbox.mails(recipient.email)}
    assert sent == ({f"<{redemption.redemption_id}@rewards.mesh>"} if state == "FULFILLED" else set())
    assert await harness.replayed(tenant, "k", recipient=recipient) == (redemption, True)


@pytest.mark.parametrize("name", DECLINED)
async def test_a_crash_on_the_way_to_a_refusal_keeps_nothing_held(harness: Harness, name: str) -> None:
    tenant, recipient = await harness.tenant(funding=1), address()
    await crash(harness, tenant, name, recipient)
    assert await reason(harness.create(tenant, "k", recipient=recipient)) == "INSUFFICIENT_FUNDS"
    await tenant.fill(0, 1_000)
    assert await reason(harness.create(tenant, "k", recipient=recipient)) == "INSUFFICIENT_FUNDS"
    assert await harness.check(tenant, Funds(10_000, 0), Funds(100_100, 0)) == "FAILED"
    assert await tenant.stock() == Stock(3, 0, 0)


@pytest.mark.parametrize("name", REFUSED)
async def test_a_crash_on_the_way_to_compliances_refusal_keeps_nothing_held(harness: Harness, name: str) -> None:
    tenant, recipient = await harness.tenant(), address()
    await harness.obey(tenant, blocked_countries=["DE"])
    await crash(harness, tenant, name, recipient)
    await harness.obey(tenant)
    assert await reason(harness.create(tenant, "k", recipient=recipient)) == "COMPLIANCE_REFUSED"
    assert await harness.check(tenant, Funds(10_000, 0), Funds(100_000, 0)) == "FAILED"
    assert await tenant.stock() == Stock(3, 0, 0)


@pytest.mark.parametrize("name", ["order.before", "order.sent", "order.after", "order.stored"])
async def test_a_crash_around_an_order_never_sends_it_twice(harness: Harness, name: str) -> None:
    # This provider is taken not to know references, so only what we remember keeps it from a second order.
    harness.adapter.idempotent = False
    tenant, recipient = await harness.tenant(), address()
    created = await harness.create(tenant, "k", recipient=recipient)
    failpoints.load(f"{name}:raise")
    with pytest.raises(failpoints.Killed):
        await (await harness.assemble()).saga.work()
    room = await harness.assemble()
    for _ in range(4):
        await harness.expire_leases()
        await room.saga.work()
    journal = await harness.provider.journal(created.redemption_id)
    status = (await harness.get(tenant, created.redemption_id)).status
    if name == "order.sent":
        assert (status, journal) == (pb.Redemption.REVIEW, []), "it may have gone out, so it waits for a person"
    else:
        assert (status, len(journal)) == (pb.Redemption.FULFILLED, 1)
