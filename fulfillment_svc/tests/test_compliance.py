"""Redemptions that compliance holds or refuses: who is told what, and that nobody slips under a limit (G79)."""

import asyncio
import uuid
from collections import Counter
from typing import Any, Final

import grpc
import psycopg
import pytest
from rewards.fulfillment.v1 import redemptions_pb2 as pb
from rewards.fulfillment.v1.review_pb2 import Review
from rewards.identity.v1.programs_pb2 import RecipientLimit

from fulfillment_svc.compliance import Effect, Subject
from fulfillment_svc.compliance.by_rules import ByRules
from fulfillment_svc.redemptions import failpoints
from fulfillment_svc.tests.harness import Harness, address, request
from fulfillment_svc.tests.outside import eventually
from fulfillment_svc.tests.refusals import reason
from fulfillment_svc.tests.test_review import act, desk, history, work
from fulfillment_svc.tests.world import Funds, Stock, Tenant
from svckit.clock import system_clock
from svckit.testing import headers, partner

FULL, FUNDED = Funds(10_000, 0), Funds(100_000, 0)
COUNTRIES: Final[list[Any]] = [
    ({"blocked_countries": ["US", "DE"]}, "COUNTRY_BLOCKED"),
    ({"allowed_countries": ["US"]}, "COUNTRY_NOT_ALLOWED"),
]


def most(value_minor: int, **changes: Any) -> RecipientLimit:
    limit: dict[str, Any] = {"currency": "USD", "days": 30, "over": RecipientLimit.REFUSE}
    return RecipientLimit(value_minor=value_minor, **(limit | changes))


HOLD: Final = most(999, over=RecipientLimit.HOLD)


async def held(harness: Harness, tenant: Tenant, **changes: Any) -> Review:
    """A redemption over the recipient's limit."""
    await harness.obey(tenant, limits=[HOLD])
    made = await harness.create(tenant, "k", **changes)
    assert (made.status, made.failure_reason) == (pb.Redemption.REVIEW, "COMPLIANCE_HOLD")
    (one,) = (await desk(harness, tenant)).reviews
    return one


async def crash(harness: Harness, tenant: Tenant, name: str, recipient: pb.Recipient) -> None:
    """Calls and dies at the failpoint, so that nobody answers and the caller hangs up."""
    failpoints.load(f"{name}:raise")
    calling = asyncio.create_task(harness.create(tenant, "k", recipient=recipient))
    await eventually(lambda: not failpoints.armed())
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)


@pytest.mark.parametrize(("rules", "why"), COUNTRIES)
async def test_a_country_that_nothing_is_sent_to(harness: Harness, rules: dict[str, Any], why: str) -> None:
    tenant = await harness.tenant()
    await tenant.limit(1)
    await harness.obey(tenant, **rules)
    assert await reason(harness.create(tenant, "k")) == "COMPLIANCE_REFUSED"
    assert await harness.check(tenant, FULL, FUNDED) == "FAILED"
    assert await tenant.stock() == Stock(1, 0, 0)
    await harness.obey(tenant)
    assert await reason(harness.create(tenant, "k")) == "COMPLIANCE_REFUSED", "its key is bound to the answer"
    ((redemption_id, shown),) = await harness.execute("SELECT redemption_id::text, reason FROM redemptions")
    assert shown == "COMPLIANCE_REFUSED"
    assert why not in str(await harness.get(tenant, redemption_id))
    assert await harness.execute("SELECT reason FROM redemption_edges WHERE answer = 'REFUSED'") == [(why,)]
    assert (await harness.create(tenant, "l")).status == pb.Redemption.PROCESSING


@pytest.mark.parametrize(("action", "status"), [("Release", "FULFILLED"), ("Refuse", "FAILED")])
async def test_what_is_held_keeps_its_value_until_a_person_decides(harness: Harness, action: str, status: str) -> None:
    tenant, recipient = await harness.tenant(), address()
    await tenant.limit(1)
    one = await held(harness, tenant, recipient=recipient)
    await work(harness, rounds=3)
    assert (one.kind, one.reason, one.state) == (Review.COMPLIANCE_HOLD, "RECIPIENT_LIMIT", "HELD")
    assert list(one.actions) == [Review.RELEASE, Review.REFUSE]
    assert (await tenant.points(), await tenant.funding()) == (Funds(10_000, 800), Funds(100_000, 1_000))
    assert await tenant.stock() == Stock(1, 1, 0)
    assert await harness.provider.journal(one.redemption_id) == []
    await act(harness, action, one, evidence="ticket 9")
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == status
    assert await tenant.stock() == (Stock(0, 0, 1) if action == "Release" else Stock(1, 0, 0))
    assert action.upper() in await history(harness, one)
    kept = await harness.execute("SELECT action, actor, evidence FROM review_actions")
    assert kept == [(action.upper(), "op_kim", "ticket 9")]
    done = await harness.get(tenant, one.redemption_id)
    assert done.failure_reason == ("" if action == "Release" else "COMPLIANCE_REFUSED")
    told = await harness.execute("SELECT convert_from(payload, 'UTF8') FROM events")
    assert "LIMIT" not in f"{done} {told}", "why it was held is for operators only"
    again, replayed = await harness.replayed(tenant, "k", recipient=recipient)
    assert (again.status, replayed) == (pb.Redemption.REVIEW, True)


async def test_only_what_compliance_holds_is_refused_or_held_at_the_desk(harness: Harness) -> None:
    tenant = await harness.tenant()
    one = await held(harness, tenant)
    for action in ("Refund", "Query"):
        assert await reason(act(harness, action, one)) == "CONFLICT"
    await act(harness, "Release", one, key="b")
    assert await reason(act(harness, "Refuse", one, key="c")) == "CONFLICT"


async def test_what_is_held_can_be_called_off(harness: Harness) -> None:
    tenant = await harness.tenant()
    one = await held(harness, tenant)
    assert (await harness.cancel(tenant, one.redemption_id)).status == pb.Redemption.CANCELLED
    assert await harness.check(tenant, FULL, FUNDED) == "CANCELLED"
    assert (await desk(harness, tenant)).reviews == []


async def test_of_a_crowd_to_one_mailbox_only_so_many_pass_as_the_limit_lets(harness: Harness) -> None:
    tenant = await harness.tenant(points=100_000)
    await harness.obey(tenant, limits=[most(3_999)])
    mailbox = address().email.removesuffix("@example.com")
    written = [f"{mailbox}@example.com", f"{mailbox.upper()}@Example.com", f"{mailbox}+rewards@example.com"]

    async def send(number: int) -> str:
        recipient = pb.Recipient(email=written[number % 3], country="DE")
        while True:
            try:
                await harness.create(tenant, f"k-{number}", recipient=recipient)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                    return error.details() or ""
                # A crowd may be too much for the databases for a moment; the same key is tried again then.
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED):
                    raise
            else:
                return "passed"

    answers = Counter(await asyncio.gather(*(send(number) for number in range(20))))
    assert answers == {"passed": 3, "This reward cannot be sent to this recipient.": 17}
    assert (await tenant.points(), await tenant.funding()) == (Funds(100_000, 2_400), Funds(100_000, 3_000))
    (other,) = {(await harness.create(tenant, "other", recipient=address())).status}
    assert other == pb.Redemption.PROCESSING


@pytest.mark.parametrize("number", range(3))
async def test_checks_at_one_instant_never_pass_a_limit_together(harness: Harness, number: int) -> None:
    tenant = await harness.tenant()
    await harness.obey(tenant, limits=[most(3_999)])
    rules = ByRules(harness.db, b"key", system_clock)

    async def ask() -> Effect:
        subject = Subject(tenant.program_id, uuid.uuid4(), f"{number}@example.com", "DE", "USD", 1_000)
        return (await rules.check(subject)).effect

    # The first makes the recipient's row, for which all would wait anyway.
    effects = Counter([await ask(), *await asyncio.gather(*(ask() for _ in range(10)))])
    assert effects == {Effect.ALLOW: 3, Effect.REFUSE: 8}


async def test_what_is_given_back_counts_no_more(harness: Harness) -> None:
    tenant, recipient = await harness.tenant(), address()
    await harness.obey(tenant, limits=[most(2_000)])
    await harness.provider.fault("part_reject")
    await harness.create(tenant, "a", recipient=recipient, quantity=2)
    assert await reason(harness.create(tenant, "b", recipient=recipient)) == "COMPLIANCE_REFUSED"
    await harness.finish(await harness.assemble())
    await harness.provider.fault("reject")
    await harness.create(tenant, "c", recipient=recipient)
    await harness.finish(await harness.assemble())
    await harness.create(tenant, "d", recipient=recipient)
    assert await reason(harness.create(tenant, "e", recipient=recipient)) == "COMPLIANCE_REFUSED"


async def test_a_limit_is_of_its_days_and_its_currency(harness: Harness) -> None:
    tenant, recipient = await harness.tenant(), address()
    await harness.obey(tenant, limits=[most(1_500), most(1, currency="EUR")])
    await harness.create(tenant, "a", recipient=recipient)
    assert await reason(harness.create(tenant, "b", recipient=recipient)) == "COMPLIANCE_REFUSED"
    tenant.program.clock_offset_s = 30 * 24 * 3_600
    await harness.store(tenant)
    await harness.create(tenant, "c", recipient=recipient)


async def test_without_a_verdict_a_redemption_waits_and_never_passes(
    harness: Harness, own_database: tuple[str, object]
) -> None:
    tenant = await harness.tenant()
    await harness.obey(tenant, limits=[most(5_000)])
    await harness.create(tenant, "first")
    async with await psycopg.AsyncConnection.connect(own_database[0]) as busy:
        # Who waits too long for the recipient's row gets no verdict.
        await busy.execute("SELECT 1 FROM compliance_recipients FOR UPDATE")
        assert await reason(harness.create(tenant, "k")) == "UNAVAILABLE"
        metadata = headers(partner(tenant.program_id, "redemptions:write"), "k")
        assert await reason(harness.stub.CreateRedemption(request(), metadata=metadata)) == "IDEMPOTENCY_IN_FLIGHT"
        waiting = await harness.execute("SELECT state, points_hold_id FROM redemptions ORDER BY created_at DESC")
        assert waiting[0].state == "SCREENING"
        assert (await tenant.points()).held == 1_600
    await harness.finish(await harness.assemble())
    again, replayed = await harness.replayed(tenant, "k")
    assert (again.status, replayed) == (pb.Redemption.PROCESSING, True)


async def test_a_recipient_whom_nobody_can_read_waits_for_a_person_or_the_key(harness: Harness) -> None:
    tenant, key = await harness.tenant(), harness.master_key
    await crash(harness, tenant, "screen.before", address())
    harness.master_key = bytes(32)
    await work(harness)
    (one,) = (await desk(harness, tenant)).reviews
    assert (one.kind, one.reason) == (Review.COMPLIANCE_HOLD, "RECIPIENT_UNREADABLE")
    harness.master_key = key
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"


@pytest.mark.parametrize("name", ["screen.before", "screen.after", "screen.stored"])
async def test_a_crash_around_the_check_makes_one_check(harness: Harness, name: str) -> None:
    tenant, recipient = await harness.tenant(), address()
    await harness.obey(tenant, limits=[HOLD])
    await crash(harness, tenant, name, recipient)
    await work(harness, rounds=2)
    (one,) = (await desk(harness, tenant)).reviews
    assert await harness.execute("SELECT value_minor, effect FROM compliance_checks") == [(1_000, "HOLD")]
    await act(harness, "Release", one)
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"
