"""A crash at every boundary of every step (F5): whoever goes on from there ends it once, and rightly."""

import asyncio

import pytest

from fulfillment_svc.redemptions import failpoints
from fulfillment_svc.tests.harness import Harness, address
from fulfillment_svc.tests.outside import eventually
from fulfillment_svc.tests.world import Funds

# What the provider must do for a step to be taken at all.
FAULTS = {"query": "error_after_accept", "void-points": "reject", "void-funding": "reject"}


@pytest.mark.parametrize("name", failpoints.NAMES)
async def test_a_crash_anywhere_leaves_nothing_half_done(harness: Harness, name: str) -> None:
    tenant, recipient = await harness.tenant(), address()
    fault = FAULTS.get(name.split(".", maxsplit=1)[0])
    if fault:
        await harness.provider.fault(fault)
    failpoints.load(f"{name}:raise")
    # A call whose server dies is never answered, so the caller hangs up once that has happened.
    calling = asyncio.create_task(harness.create(tenant, "k", recipient=recipient))
    await eventually(lambda: calling.done() or not failpoints.armed())
    calling.cancel()
    await harness.finish(await harness.assemble())
    assert not failpoints.armed(), "this crash never came"
    redemption, _ = await harness.replayed(tenant, "k", recipient=recipient)
    await harness.finish(await harness.assemble())
    state = await harness.check(tenant, Funds(10_000, 0), Funds(100_000, 0))
    assert state == ("FAILED" if fault == "reject" else "FULFILLED")
    mails = harness.mailbox.mails(recipient.email)
    assert {mail["Message-ID"] for mail in mails} == (
        {f"<{redemption.redemption_id}@rewards.mesh>"} if state == "FULFILLED" else set()
    )
    assert await harness.execute("SELECT DISTINCT state FROM idempotency_keys") == [(2,)]
