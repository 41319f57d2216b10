"""Redemptions from the call to the mail, between a real ledger, catalog, provider and mailbox."""

import asyncio
from collections import Counter
from email.message import EmailMessage
from typing import Any

import pytest
from rewards.fulfillment.v1 import redemptions_pb2 as pb

from fulfillment_svc.providers.over_http import HttpProvider
from fulfillment_svc.redemptions import failpoints
from fulfillment_svc.tests.harness import Harness, address
from fulfillment_svc.tests.refusals import reason
from fulfillment_svc.tests.world import Funds

FULL, FUNDED = Funds(10_000, 0), Funds(100_000, 0)
HELD = Funds(10_000, 800), Funds(100_000, 1_000)
LOST_ANSWERS = ["timeout_then_success", "error_after_accept", "malformed_body", "huge_body", "wrong_amount"]


def part(mail: EmailMessage, kind: str) -> str:
    body = mail.get_body((kind,))
    assert body is not None
    content: str = body.get_content()
    return content


async def test_a_redemption_is_held_ordered_captured_and_delivered(harness: Harness) -> None:
    tenant, recipient = await harness.tenant(), address()
    created = await harness.create(tenant, "k", recipient=recipient, quantity=2, denomination=12.5)
    assert (created.status, created.points, created.member_id) == (pb.Redemption.PROCESSING, 2000, "m_1")
    items = [(item.number, item.brand, item.denomination, item.currency, item.code_masked) for item in created.items]
    assert items == [(1, "Kaffa", 12.5, "USD", ""), (2, "Kaffa", 12.5, "USD", "")]
    assert await tenant.points() == Funds(10_000, 2_000)
    assert await tenant.funding() == Funds(100_000, 2_500)

    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"
    done = await harness.get(tenant, created.redemption_id)
    assert (done.status, done.transaction_id) == (pb.Redemption.FULFILLED, created.transaction_id)
    assert created.transaction_id
    (order,) = await harness.provider.journal(created.redemption_id)
    codes = [item["code"] for item in order["items"]]
    assert [item.code_masked for item in done.items] == [f"****{code[-4:]}" for code in codes]
    (mail,) = harness.mailbox.mails(recipient.email)
    assert (mail["From"], mail["To"]) == ("Rewards <no-reply@rewards.mesh>", f"Ada Lovelace <{recipient.email}>")
    assert mail["Message-ID"] == f"<{created.redemption_id}@rewards.mesh>"
    for kind in ("plain", "html"):
        assert all(code in part(mail, kind) for code in codes)
        assert "12.50 USD" in part(mail, kind)
    assert not any(remote in part(mail, "html") for remote in ("http", "src=", "url("))


async def test_codes_and_recipients_lie_in_the_database_only_sealed(harness: Harness) -> None:
    tenant, recipient = await harness.tenant(), address()
    await harness.obey(tenant, blocked_countries=["US"])
    created = await harness.create(tenant, "k", recipient=recipient)
    await harness.finish(await harness.assemble())
    (order,) = await harness.provider.journal(created.redemption_id)
    (code,) = [item["code"] for item in order["items"]]
    tables = await harness.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    secrets = [code, code[:9], recipient.email, recipient.name]
    for (table,) in tables:
        if table == "alembic_version":
            continue
        rows = await harness.execute(f"SELECT to_jsonb(t)::text FROM {table} t")  # noqa: S608 - names of our tables
        # A bytea stands there as hex.
        stored = [text for (text,) in rows]
        for secret in secrets:
            assert not any(secret in text or secret.encode().hex() in text for text in stored), table


async def test_a_definite_no_gives_everything_back(harness: Harness) -> None:
    tenant = await harness.tenant()
    await harness.provider.fault("reject")
    created = await harness.create(tenant, "k")
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "FAILED"
    failed = await harness.get(tenant, created.redemption_id)
    assert (failed.status, failed.failure_reason) == (pb.Redemption.FAILED, "PROVIDER_OUT_OF_STOCK")
    ((payload,),) = await harness.execute("SELECT convert_from(payload, 'UTF8') FROM events")
    assert '"status":"FAILED"' in payload
    assert created.redemption_id in payload


@pytest.mark.parametrize("fault", LOST_ANSWERS)
async def test_a_lost_answer_parks_and_is_asked_for(harness: Harness, fault: str) -> None:
    tenant, room = await harness.tenant(), await harness.assemble()
    await harness.provider.fault(fault)
    created = await harness.create(tenant, "k")
    assert await room.saga.work() == 1
    parked = await harness.get(tenant, created.redemption_id)
    assert parked.status == pb.Redemption.REVIEW
    assert parked.failure_reason.startswith("PROVIDER_")
    assert (await tenant.points(), await tenant.funding()) == HELD
    assert await room.saga.work() == 0, "it is asked again only after a pause"
    await harness.finish(room)
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"
    assert len(await harness.provider.journal(created.redemption_id)) == 1, "it was asked for, not ordered again"


async def test_an_order_that_does_not_show_goes_out_again_under_its_reference(harness: Harness) -> None:
    tenant = await harness.tenant()
    await harness.provider.fault("unavailable", next=2)
    created = await harness.create(tenant, "k")
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"
    assert await harness.issued(created.redemption_id) == 1


async def test_delayed_visibility_never_makes_a_second_order(harness: Harness) -> None:
    tenant, room = await harness.tenant(), await harness.assemble()
    await harness.provider.fault("delayed_visibility", next=1, queries=3)
    created = await harness.create(tenant, "k")
    await harness.finish(room)
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"
    references = {entry["reference"] for entry in await harness.provider.journal()}
    assert await harness.issued(created.redemption_id) == 1
    assert created.redemption_id in references


NOT_BY_REFERENCE = {"idempotent": False, "visibility_s": 0}
SHOWN_AFTER_AN_HOUR = {"idempotent": True, "visibility_s": 3600}


@pytest.mark.parametrize("promises", [NOT_BY_REFERENCE, SHOWN_AFTER_AN_HOUR])
async def test_no_record_is_no_answer_before_its_time(harness: Harness, promises: dict[str, Any]) -> None:
    harness.adapter = HttpProvider(harness.adapter._session, harness.provider.url, timeout_s=1, **promises)
    tenant, room = await harness.tenant(), await harness.assemble()
    await harness.provider.fault("unavailable")
    created = await harness.create(tenant, "k")
    for _ in range(6):
        await harness.expire_leases()
        assert await room.saga.work() == 1
    parked = await harness.get(tenant, created.redemption_id)
    assert (parked.status, parked.failure_reason) == (pb.Redemption.REVIEW, "PROVIDER_NOT_SEEN")
    assert (await tenant.points(), await tenant.funding()) == HELD
    assert await harness.provider.journal(created.redemption_id) == [], "it was never sent again"


async def test_a_ledger_that_is_down_leaves_the_outcome_to_the_key(harness: Harness) -> None:
    tenant, room = await harness.tenant(), await harness.assemble()
    await harness.world.ledger.stop()
    assert await reason(harness.create(tenant, "k")) == "UNAVAILABLE"
    assert await reason(harness.create(tenant, "k")) == "IDEMPOTENCY_IN_FLIGHT"
    await harness.expire_leases()
    assert await room.saga.work() == 1
    await harness.world.start()
    await harness.finish(room)
    redemption, replayed = await harness.replayed(tenant, "k")
    assert (redemption.status, replayed) == (pb.Redemption.PROCESSING, True)
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"


async def test_a_ledger_that_goes_down_before_the_capture_is_only_waited_for(harness: Harness) -> None:
    tenant, room = await harness.tenant(), await harness.assemble()
    created = await harness.create(tenant, "k")
    await harness.world.ledger.stop()
    await room.saga.work()
    assert (await harness.get(tenant, created.redemption_id)).status == pb.Redemption.PROCESSING
    await harness.world.start()
    await harness.finish(room)
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"


async def test_mail_that_fails_is_sent_later_and_takes_nothing_back(harness: Harness) -> None:
    tenant, room, recipient = await harness.tenant(), await harness.assemble(), address()
    created = await harness.create(tenant, "k", recipient=recipient)
    await harness.mailbox.stop()
    for _ in range(3):
        await harness.expire_leases()
        await room.saga.work()
    waiting = await harness.get(tenant, created.redemption_id)
    assert waiting.status == pb.Redemption.PROCESSING
    assert await tenant.points() == Funds(9_200, 0)
    await harness.mailbox.start()
    await harness.finish(room)
    assert len(harness.mailbox.mails(recipient.email)) == 1
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"


async def test_a_hold_that_somebody_else_ended_waits_for_a_person(harness: Harness) -> None:
    tenant, room = await harness.tenant(), await harness.assemble()
    created = await harness.create(tenant, "k")
    failpoints.load("capture-points.before:raise")
    with pytest.raises(failpoints.Killed):
        await room.saga.work()
    await tenant.void(created.transaction_id)
    await harness.expire_leases()
    await room.saga.work()
    stuck = await harness.get(tenant, created.redemption_id)
    assert (stuck.status, stuck.failure_reason) == (pb.Redemption.REVIEW, "HOLD_NOT_ACTIVE")
    await harness.expire_leases()
    assert await room.saga.work() == 1, "a worker still picks it up (R7)"


async def test_a_worker_that_was_overtaken_writes_nothing(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    tenant, recipient = await harness.tenant(), address()
    await harness.provider.fault("slow", next=1, delayMs=60_000)
    created = await harness.create(tenant, "k", recipient=recipient)
    slow = asyncio.create_task((await harness.assemble()).saga.work())
    while not await harness.provider.journal(created.redemption_id):
        assert not slow.done()
    await harness.finish(await harness.assemble())
    assert await slow == 1
    assert "lease lost" in caplog.messages
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"
    assert len(harness.mailbox.mails(recipient.email)) == 1


async def test_many_workers_end_everything_once(harness: Harness) -> None:
    tenant = await harness.tenant(points=20_000)
    for fault in ("reject", "error_after_accept", "slow", "unavailable", "malformed_body"):
        await harness.provider.fault(fault, next=2)
    created = await asyncio.gather(*(harness.create(tenant, f"k-{number}") for number in range(20)))
    rooms = [await harness.assemble(), await harness.assemble()]
    tasks = [asyncio.create_task(worker.run()) for room in rooms for worker in room.workers]
    try:
        await harness.all_ended()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    seen = [await harness.get(tenant, one.redemption_id) for one in created]
    assert Counter(one.status for one in seen) == {pb.Redemption.FULFILLED: 18, pb.Redemption.FAILED: 2}
    for one in seen:
        assert await harness.issued(one.redemption_id) == (one.status == pb.Redemption.FULFILLED)
    assert await tenant.points() == Funds(20_000 - 18 * 800, 0)
    assert await tenant.funding() == Funds(100_000 - 18 * 1_000, 0)
