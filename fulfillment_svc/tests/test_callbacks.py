"""Callbacks of the provider: signed ones make us ask it again, and none of them moves anything (G71)."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from rewards.fulfillment.v1 import redemptions_pb2 as pb
from standardwebhooks import Webhook

from fulfillment_svc.redemptions import failpoints
from fulfillment_svc.tests.harness import Harness
from fulfillment_svc.tests.outside import Door, eventually
from fulfillment_svc.tests.world import Funds

FULL, FUNDED = Funds(10_000, 0), Funds(100_000, 0)
FAULTS = ["duplicate_callback", "early_callback", "late_callback", "contradictory_callback", "forged_callback"]


def about(reference: str) -> bytes:
    return json.dumps({"type": "order.issued", "reference": reference}).encode()


def signed(secret: str, payload: bytes, at: datetime | None = None) -> dict[str, str]:
    at = at or datetime.now(UTC)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", at, payload.decode()),
    }


async def answer(door: Door, payload: bytes, headers: dict[str, str], provider: str = "sandbox") -> str:
    return await door.send(provider, payload, headers)


async def test_only_who_has_the_secret_is_heard(harness: Harness) -> None:
    door, payload = harness.provider.door, about(str(uuid.uuid4()))
    harness.answer_callbacks()
    good = signed(door.secret, payload)
    assert await answer(door, payload, good) == "OK", "it is the same whether or not we know the order"
    assert await answer(door, payload, signed("b2xkIHNlY3JldA==", payload)) == "OK", "every known secret is good"
    old = datetime.now(UTC) - timedelta(minutes=6)
    for provider, sent, headers in (
        ("sandbox", about(str(uuid.uuid4())), good),
        ("sandbox", payload, signed("bm90IG91cnM=", payload)),
        ("sandbox", payload, signed(door.secret, payload, old)),
        ("sandbox", payload, {**good, "webhook-signature": "v1,AAAA v1a,BBBB,CCCC"}),
        ("sandbox", payload, {**good, "webhook-timestamp": "9" * 400}),
        ("sandbox", payload, {}),
        ("sandbox", b"\xff", good),
        ("other", payload, good),
    ):
        assert await answer(door, sent, headers, provider) == "UNAUTHENTICATED"
    for malformed in (b"", b"[]", b"{}", b'{"reference": 5}', b'{"reference": "x"}', b"[" * 5000):
        assert await answer(door, malformed, signed(door.secret, malformed)) == "INVALID_REQUEST"


async def test_a_callback_ends_the_pause_before_the_next_question(harness: Harness) -> None:
    tenant, room = await harness.tenant(), await harness.assemble()
    await harness.provider.fault("error_after_accept")
    created = await harness.create(tenant, "k")
    assert await room.saga.work() == 1
    assert await room.saga.work() == 0
    harness.answer_callbacks()
    payload = about(created.redemption_id)
    assert await answer(harness.provider.door, payload, signed(harness.provider.door.secret, payload)) == "OK"
    assert await room.saga.work() == 1
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"


@pytest.mark.parametrize("answered", [None, "error_after_accept", "reject"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_a_callback_says_the_provider_is_asked(
    harness: Harness, fault: str, answered: str | None
) -> None:
    tenant, room = await harness.tenant(), await harness.assemble()
    harness.answer_callbacks()
    await harness.provider.fault(fault, next=1, delayMs=50)
    if answered:
        await harness.provider.fault(answered)
    await harness.create(tenant, "k")
    assert await room.saga.work() == 1
    expected = {"duplicate_callback": 5, "early_callback": 2, "contradictory_callback": 2}.get(fault, 1)
    await eventually(lambda: len(harness.provider.door.answers) == expected)
    assert set(harness.provider.door.answers) == {"UNAUTHENTICATED" if fault == "forged_callback" else "OK"}
    await harness.finish(room)
    assert await harness.check(tenant, FULL, FUNDED) == ("FAILED" if answered == "reject" else "FULFILLED")
    assert await harness.execute("SELECT 1 FROM redemptions WHERE parked_at IS NOT NULL") == []


async def test_an_issue_after_the_end_waits_for_a_person(harness: Harness) -> None:
    tenant, room = await harness.tenant(), await harness.assemble()
    await harness.provider.fault("reject_then_issue", next=1, delayMs=0)
    created = await harness.create(tenant, "k")
    await harness.finish(room)
    assert (await harness.get(tenant, created.redemption_id)).status == pb.Redemption.FAILED
    assert (await tenant.points(), await tenant.funding()) == (FULL, FUNDED)
    while not await harness.issued(created.redemption_id):
        pass
    assert await room.saga.work() == 0, "it has ended, and nobody has called about it"
    harness.answer_callbacks()
    payload = about(created.redemption_id)
    assert await answer(harness.provider.door, payload, signed(harness.provider.door.secret, payload)) == "OK"
    assert await room.saga.work() == 1
    parked = await harness.execute("SELECT state FROM redemptions WHERE parked_at IS NOT NULL AND due_at IS NULL")
    assert parked == [("FAILED",)]
    assert (await tenant.points(), await tenant.funding()) == (FULL, FUNDED), "nothing moves without a person"
    assert (await harness.get(tenant, created.redemption_id)).status == pb.Redemption.FAILED


async def test_a_callback_while_somebody_is_at_work_is_not_forgotten(harness: Harness) -> None:
    tenant = await harness.tenant()
    await harness.provider.fault("reject_then_issue", next=1, delayMs=0)
    created = await harness.create(tenant, "k")
    failpoints.load("void-points.before:raise")
    with pytest.raises(failpoints.Killed):
        await (await harness.assemble()).saga.work()
    while not await harness.issued(created.redemption_id):
        pass
    harness.answer_callbacks()
    payload = about(created.redemption_id)
    assert await answer(harness.provider.door, payload, signed(harness.provider.door.secret, payload)) == "OK"
    await harness.finish(await harness.assemble())
    assert await harness.execute("SELECT state FROM redemptions WHERE parked_at IS NOT NULL") == [("FAILED",)]
