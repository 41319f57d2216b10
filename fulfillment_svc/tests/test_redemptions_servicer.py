"""What a caller of redemptions gets: answers, refusals, replays, and nothing of others."""

import asyncio
import uuid
from collections import Counter
from typing import Any

import grpc
import pytest
from rewards.errors.v1.errors_pb2 import Shortfall
from rewards.fulfillment.v1 import redemptions_pb2 as pb

from fulfillment_svc.tests.harness import Harness, address, request
from fulfillment_svc.tests.refusals import reason, refusal
from fulfillment_svc.tests.world import WITHDRAWN, Funds, Tenant
from svckit.call import Kind, Principal
from svckit.errors import Reason
from svckit.testing import headers, partner


def member(tenant: Tenant, member_id: str) -> Principal:
    return Principal(Kind.MEMBER, "token", tenant.program_id, member_id=member_id)


async def nothing_happened(harness: Harness, tenant: Tenant) -> bool:
    return (await tenant.points()).held == 0 and (await tenant.funding()).held == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"reward_id": "no-such"}, "REWARD_NOT_FOUND"),
        ({"reward_id": WITHDRAWN}, "REWARD_UNAVAILABLE"),
        ({"denomination": 11.0}, "DENOMINATION_INVALID"),
        ({"recipient": pb.Recipient(email="a@example.com", country="JP")}, "COUNTRY_NOT_SERVED"),
        ({"recipient": pb.Recipient(email="a..b@example.com", country="DE")}, "RECIPIENT_INVALID"),
        ({"recipient": pb.Recipient(email="a@example.com")}, "INVALID_REQUEST"),
        ({"recipient": None}, "INVALID_REQUEST"),
        ({"version": 2}, "PRICE_CHANGED"),
        ({"points": 799}, "PRICE_CHANGED"),
        ({"version": 1, "points": 800, "quantity": 2}, "PRICE_CHANGED"),
        ({"quantity": 0}, "INVALID_REQUEST"),
        ({"version": 0}, "INVALID_REQUEST"),
        ({"points": 0}, "INVALID_REQUEST"),
        ({"quantity": 11}, "INVALID_REQUEST"),
        ({"denomination": 10.001}, "INVALID_REQUEST"),
    ],
)
async def test_what_cannot_be_had_is_refused_before_anything_is_held(
    harness: Harness, changes: dict[str, Any], expected: str
) -> None:
    tenant = await harness.tenant()
    assert await reason(harness.create(tenant, "k", **changes)) == expected
    assert await nothing_happened(harness, tenant)
    assert await harness.execute("SELECT 1 FROM redemptions") == []
    kept = await harness.execute("SELECT state FROM idempotency_keys")
    binds = expected not in ("INVALID_REQUEST", "REWARD_NOT_FOUND", "PRICE_CHANGED")
    assert len(kept) == binds, "what binds is kept (G58)"
    if not kept:
        assert (await harness.create(tenant, "k")).status == pb.Redemption.PROCESSING


async def test_who_was_quoted_another_price_reads_anew_and_uses_the_key_again(harness: Harness) -> None:
    tenant = await harness.tenant()
    quoted: dict[str, Any] = {"version": 1, "points": 1_600, "quantity": 2}
    await tenant.put_catalog(name="Kaffa card")
    assert (await harness.create(tenant, "k", **quoted)).points == 1_600, "only its name is another"
    await tenant.put_catalog(points=900)
    assert (await harness.create(tenant, "k", **quoted)).points == 1_600, "what was sold is sold"
    before = await tenant.points()
    assert await reason(harness.create(tenant, "l", **quoted)) == "PRICE_CHANGED"
    assert await reason(harness.create(tenant, "l", quantity=2, points=1_600)) == "PRICE_CHANGED"
    assert await tenant.points() == before
    assert (await harness.create(tenant, "l", version=3, points=1_800, quantity=2)).points == 1_800


async def test_too_few_points_are_refused_for_good(harness: Harness) -> None:
    tenant = await harness.tenant(points=799)
    first = await refusal(harness.create(tenant, "k"))
    assert (first.reason, first.detail) == (Reason.INSUFFICIENT_POINTS, Shortfall(available=799, requested=800))
    await tenant.fill(1, 0)
    again = await refusal(harness.create(tenant, "k"))
    assert (again.reason, again.detail) == (first.reason, first.detail)
    assert (await harness.create(tenant, "k2")).status == pb.Redemption.PROCESSING
    ((refused, *_), *_) = await harness.execute("SELECT redemption_id FROM redemptions WHERE state = 'FAILED'")
    shown = await harness.get(tenant, str(refused))
    assert (shown.status, shown.failure_reason) == (pb.Redemption.FAILED, "INSUFFICIENT_POINTS")


async def test_too_little_funding_gives_the_points_back_and_tells_no_numbers(harness: Harness) -> None:
    tenant = await harness.tenant(funding=9.99)
    refused = await refusal(harness.create(tenant, "k"))
    assert (refused.reason, refused.detail) == (Reason.INSUFFICIENT_FUNDS, None)
    assert await tenant.points() == Funds(10_000, 0)
    assert await tenant.funding() == Funds(999, 0)


async def test_a_suspended_member_is_refused_for_good(harness: Harness) -> None:
    tenant = await harness.tenant()
    await tenant.set_member("m_1", active=False, version=2)
    assert await reason(harness.create(tenant, "k")) == "MEMBER_NOT_ACTIVE"
    await tenant.set_member("m_1", active=True, version=3)
    assert await reason(harness.create(tenant, "k")) == "MEMBER_NOT_ACTIVE"


async def test_an_unknown_member_does_not_use_the_key_up(harness: Harness) -> None:
    tenant = await harness.tenant()
    assert await reason(harness.create(tenant, "k", member_id="m_new")) == "MEMBER_NOT_FOUND"
    await tenant.set_member("m_new", active=True)
    assert await reason(harness.create(tenant, "k", member_id="m_new")) == "INSUFFICIENT_POINTS"


async def test_a_live_program_reaches_no_sandbox_provider(harness: Harness) -> None:
    tenant = await harness.tenant(sandbox=False, funding=0)
    assert await reason(harness.create(tenant, "k")) == "REWARD_UNAVAILABLE"


async def test_the_same_call_again_gets_the_first_answer(harness: Harness) -> None:
    tenant, room, recipient = await harness.tenant(), await harness.assemble(), address()
    created = await harness.create(tenant, "k", recipient=recipient)
    assert await harness.replayed(tenant, "k", recipient=recipient) == (created, True)
    await harness.finish(room)
    assert await harness.replayed(tenant, "k", recipient=recipient) == (created, True)
    assert await reason(harness.create(tenant, "k", quantity=2)) == "IDEMPOTENCY_KEY_REUSED"
    other = await harness.tenant()
    assert await harness.create(other, "k", recipient=recipient) != created, "a key is of one program (D5)"


async def test_copies_of_a_call_at_once_redeem_once(harness: Harness) -> None:
    tenant, recipient = await harness.tenant(), address()
    calls = [harness.create(tenant, "k", recipient=recipient) for _ in range(20)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    redemptions = {answer.redemption_id for answer in answers if isinstance(answer, pb.Redemption)}
    assert len(redemptions) == 1
    assert {error.code() for error in refused} <= {grpc.StatusCode.ABORTED}
    assert len(await harness.execute("SELECT 1 FROM redemptions")) == 1
    assert await tenant.points() == Funds(10_000, 800)


async def test_buyers_at_once_cannot_spend_the_same_points(harness: Harness) -> None:
    tenant = await harness.tenant(points=1_700)
    calls = [harness.create(tenant, f"k-{number}") for number in range(8)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert Counter(type(answer) for answer in answers) == {pb.Redemption: 2, grpc.aio.AioRpcError: 6}
    await harness.finish(await harness.assemble())
    assert await tenant.points() == Funds(100, 0)


async def test_a_redemption_is_shown_to_its_own_program_and_member_only(harness: Harness) -> None:
    tenant, rival = await harness.tenant(), await harness.tenant()
    created = await harness.create(tenant, "k")
    asked = pb.GetRedemptionRequest(redemption_id=created.redemption_id)
    reads = partner(rival.program_id, "redemptions:read")
    for principal in (reads, member(tenant, "m_2"), member(rival, "m_1")):
        assert await reason(harness.stub.GetRedemption(asked, metadata=headers(principal))) == "ORDER_NOT_FOUND"
    own = await harness.stub.GetRedemption(asked, metadata=headers(member(tenant, "m_1")))
    assert own.redemption == created
    for unknown in ("", "x", str(uuid.uuid4()), "{" + created.redemption_id + "}", created.redemption_id[:-1]):
        assert await reason(harness.get(tenant, unknown)) == "ORDER_NOT_FOUND"


async def test_a_member_redeems_with_their_own_token(harness: Harness) -> None:
    tenant = await harness.tenant()
    own, other = request(member_id=""), request(member_id="m_2")
    metadata = headers(member(tenant, "m_1"), "k")
    created = await harness.stub.CreateRedemption(own, metadata=metadata)
    assert created.redemption.member_id == "m_1"
    assert await reason(harness.stub.CreateRedemption(other, metadata=metadata)) == "MEMBER_NOT_FOUND"


async def test_a_list_is_paged_newest_first(harness: Harness) -> None:
    tenant = await harness.tenant()
    created = [(await harness.create(tenant, f"k-{number}")).redemption_id for number in range(5)]
    metadata = headers(partner(tenant.program_id, "redemptions:read"))
    seen, token = [], ""
    for expected in (2, 2, 1):
        asked = pb.ListRedemptionsRequest(member_id="m_1", page_size=2, page_token=token)
        page = await harness.stub.ListRedemptions(asked, metadata=metadata)
        assert len(page.redemptions) == expected
        seen += [one.redemption_id for one in page.redemptions]
        token = page.next_page_token
    assert (seen, token) == (created[::-1], "")
    others = pb.ListRedemptionsRequest(member_id="m_2")
    assert not (await harness.stub.ListRedemptions(others, metadata=metadata)).redemptions
    forged = pb.ListRedemptionsRequest(member_id="m_1", page_token="x")
    assert await reason(harness.stub.ListRedemptions(forged, metadata=metadata)) == "INVALID_REQUEST"


async def test_the_workers_go_on_with_the_trace_of_the_request(harness: Harness) -> None:
    tenant, trace = await harness.tenant(), f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"
    metadata = (*headers(partner(tenant.program_id, "redemptions:write"), "k"), ("traceparent", trace))
    await harness.stub.CreateRedemption(request(), metadata=metadata)
    assert await harness.execute("SELECT traceparent FROM redemptions") == [(trace,)]


async def test_nothing_about_the_recipient_or_a_code_is_logged(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    tenant, recipient = await harness.tenant(), address()
    with caplog.at_level("DEBUG", logger="fulfillment_svc"):
        await harness.provider.fault("error_after_accept")
        created = await harness.create(tenant, "k", recipient=recipient)
        await harness.finish(await harness.assemble())
    (order,) = await harness.provider.journal(created.redemption_id)
    logged = "\n".join(str(vars(record)) for record in caplog.records)
    assert created.redemption_id in logged, "the parking is logged"
    for secret in (recipient.email, recipient.name, order["items"][0]["code"]):
        assert secret not in logged
