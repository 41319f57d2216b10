"""The review desk: what a person sees, what a person may do, and that it is done once and kept."""

import asyncio
import signal
import uuid
from typing import Any

import pytest
from rewards.fulfillment.v1 import redemptions_pb2, review_pb2
from rewards.fulfillment.v1.review_pb2 import Review
from sqlalchemy.exc import ProgrammingError

from fulfillment_svc.providers.over_http import HttpProvider
from fulfillment_svc.redemptions import failpoints
from fulfillment_svc.tests.harness import Harness, address
from fulfillment_svc.tests.outside import eventually
from fulfillment_svc.tests.refusals import reason
from fulfillment_svc.tests.world import BRAND, Funds, Tenant
from svckit.call import Kind, Principal
from svckit.testing import headers, partner

FULL, FUNDED = Funds(10_000, 0), Funds(100_000, 0)
HELD = Funds(10_000, 800), Funds(100_000, 1_000)


def operator(key: str | None = None) -> Any:
    return headers(Principal(Kind.OPERATOR, "op_kim"), key)


async def act(harness: Harness, verb: str, one: Review, key: str = "a", **more: Any) -> Review:
    request = getattr(review_pb2, f"{verb}ReviewRequest")(
        program_id=one.program_id, redemption_id=one.redemption_id, **({"evidence": "ticket 7"} | more)
    )
    answer = await getattr(harness.desk, f"{verb}Review")(request, metadata=operator(key))
    found: Review = answer.review
    return found


async def desk(harness: Harness, tenant: Tenant, **page: Any) -> review_pb2.ListReviewsResponse:
    request = review_pb2.ListReviewsRequest(program_id=tenant.program_id, **page)
    found: review_pb2.ListReviewsResponse = await harness.desk.ListReviews(request, metadata=operator())
    return found


async def history(harness: Harness, one: Review) -> list[str]:
    request = review_pb2.GetReviewRequest(program_id=one.program_id, redemption_id=one.redemption_id)
    found = await harness.desk.GetReview(request, metadata=operator())
    return [entry.state or Review.Action.Name(entry.action) for entry in found.history]


async def parked(harness: Harness, tenant: Tenant, fault: str = "unavailable", **changes: Any) -> Review:
    """A redemption whose order went out and is not known of, at a provider that does not know references."""
    harness.adapter.idempotent = False
    await harness.provider.fault(fault)
    await harness.create(tenant, str(uuid.uuid4()), **changes)
    # Only the new one is due, however long it took.
    await harness.execute("UPDATE redemptions SET due_at = now() + interval '1 hour' WHERE parked_at IS NOT NULL")
    assert await (await harness.assemble()).saga.work() == 1
    return (await desk(harness, tenant)).reviews[-1]


async def work(harness: Harness, rounds: int = 1) -> None:
    room = await harness.assemble()
    for _ in range(rounds):
        await harness.expire_leases()
        await room.saga.work()


async def test_the_desk_shows_what_waits_since_when_and_what_is_at_stake(harness: Harness) -> None:
    tenant, rival = await harness.tenant(), await harness.tenant()
    one = await parked(harness, tenant)
    two = await parked(harness, tenant, quantity=2)
    await parked(harness, rival)
    assert (one.kind, one.state, one.reason) == (Review.UNKNOWN_OUTCOME, "UNKNOWN", "PROVIDER_HTTP_503")
    assert (one.points, one.value_minor, one.currency, one.member_id) == (800, 1_000, "USD", "m_1")
    assert list(one.actions) == [Review.QUERY, Review.ISSUE, Review.REFUND]
    await harness.execute("UPDATE redemptions SET parked_at = parked_at - interval '1 hour' WHERE points = 1600")
    listed = await desk(harness, tenant)
    assert [review.redemption_id for review in listed.reviews] == [two.redemption_id, one.redemption_id]
    assert 3_600 <= listed.reviews[0].age_s < 3_700
    (stake,) = listed.exposures
    assert (stake.reviews, stake.points, stake.value_minor, stake.currency) == (2, 2_400, 3_000, "USD")
    first = await desk(harness, tenant, page_size=1)
    second = await desk(harness, tenant, page_size=1, page_token=first.next_page_token)
    assert [*first.reviews, *second.reviews] == list(listed.reviews)
    assert not second.next_page_token
    everything = await harness.desk.ListReviews(review_pb2.ListReviewsRequest(), metadata=operator())
    assert len(everything.reviews) == 3
    assert len(everything.exposures) == 2
    request = review_pb2.ListReviewsRequest()
    nobody = headers(partner(tenant.program_id, "redemptions:read", "redemptions:write"))
    assert await reason(harness.desk.ListReviews(request, metadata=nobody)) == "PERMISSION_DENIED"


async def test_asking_again_is_at_once(harness: Harness) -> None:
    tenant = await harness.tenant()
    one = await parked(harness, tenant, "error_after_accept")
    room = await harness.assemble()
    assert await room.saga.work() == 0, "it waits"
    await act(harness, "Query", one)
    assert await room.saga.work() == 1
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"
    assert (await desk(harness, tenant)).reviews == []
    states = await history(harness, one)
    assert (states[0], states[-1], states.count("QUERY")) == ("HOLDING_POINTS", "FULFILLED", 1)
    assert states.index("QUERY") == states.index("UNKNOWN") + 1


@pytest.mark.parametrize("issued", [[1, 2], [2]])
async def test_what_a_person_has_codes_for_is_issued_and_the_rest_given_back(
    harness: Harness, issued: list[int]
) -> None:
    tenant, recipient = await harness.tenant(), address()
    one = await parked(harness, tenant, quantity=2, recipient=recipient)
    items = [review_pb2.IssuedItem(number=number, code=f"TYPED-CODE-{number}") for number in issued]
    answer = await act(harness, "Issue", one, items=items)
    assert answer.state == "CAPTURING_POINTS"
    assert not answer.actions
    await work(harness)
    done = await harness.get(tenant, one.redemption_id)
    whole = issued == [1, 2]
    status = redemptions_pb2.Redemption
    assert done.status == (status.FULFILLED if whole else status.PARTIALLY_FULFILLED)
    assert [item.code_masked for item in done.items] == [f"****DE-{n}" if n in issued else "" for n in (1, 2)]
    assert await tenant.points() == Funds(10_000 - 800 * len(issued), 0)
    assert await tenant.funding() == Funds(100_000 - 1_000 * len(issued), 0)
    (mail,) = harness.mailbox.mails(recipient.email)
    assert all(f"TYPED-CODE-{number}" in mail.get_body(("plain",)).get_content() for number in issued)
    kept = await harness.execute("SELECT encode(body, 'escape') FROM idempotency_keys")
    assert not any("TYPED" in body for (body,) in kept)


async def test_a_refund_gives_everything_back_and_a_late_issue_comes_back_to_the_desk(harness: Harness) -> None:
    tenant = await harness.tenant()
    one = await parked(harness, tenant)
    await act(harness, "Refund", one)
    await work(harness)
    failed = await harness.get(tenant, one.redemption_id)
    assert (failed.status, failed.failure_reason) == (redemptions_pb2.Redemption.FAILED, "REFUNDED_BY_OPERATOR")
    assert (await tenant.points(), await tenant.funding()) == (FULL, FUNDED)
    await work(harness, rounds=2)
    assert (await desk(harness, tenant)).reviews == []
    await harness.provider.order(one.redemption_id, BRAND)
    await work(harness)
    (back,) = (await desk(harness, tenant)).reviews
    assert (back.kind, back.state, list(back.actions)) == (Review.ISSUED_AFTER_END, "FAILED", [Review.RELEASE])
    assert (await tenant.points(), await tenant.funding()) == (FULL, FUNDED)
    released = await act(harness, "Release", back, key="b", evidence="the provider took it back, ticket 8")
    assert (released.kind, released.state) == (Review.KIND_UNSPECIFIED, "FAILED")
    assert (await desk(harness, tenant)).reviews == []
    assert (await history(harness, one))[-3:] == ["FAILED", "FAILED", "RELEASE"]


async def test_nothing_is_refunded_that_the_provider_has_issued(harness: Harness) -> None:
    tenant = await harness.tenant()
    one = await parked(harness, tenant, "error_after_accept")
    assert await reason(act(harness, "Refund", one)) == "CONFLICT"
    await work(harness)
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"
    assert "REFUND" in await history(harness, one), "that it was tried is kept too"


async def test_a_refused_step_is_gone_on_without(harness: Harness) -> None:
    tenant = await harness.tenant()
    created = await harness.create(tenant, "k")
    failpoints.load("capture-points.before:raise")
    with pytest.raises(failpoints.Killed):
        await (await harness.assemble()).saga.work()
    await tenant.void(created.transaction_id)
    await work(harness)
    (one,) = (await desk(harness, tenant)).reviews
    assert (one.kind, one.reason, one.state) == (Review.STEP_REFUSED, "HOLD_NOT_ACTIVE", "CAPTURING_POINTS")
    assert await reason(act(harness, "Refund", one)) == "CONFLICT", "it is issued"
    await act(harness, "Release", one, evidence="written off")
    await work(harness)
    assert (await harness.get(tenant, one.redemption_id)).status == redemptions_pb2.Redemption.FULFILLED
    assert await tenant.funding() == Funds(99_000, 0)


async def test_an_action_waits_for_a_worker_and_a_worker_that_is_late_writes_nothing(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    tenant = await harness.tenant()
    one = await parked(harness, tenant)
    await harness.provider.fault("slow", reference=one.redemption_id, on="query", delayMs=60_000)
    await harness.provider.order(one.redemption_id, BRAND)
    promises: dict[str, Any] = {"idempotent": False, "visibility_s": 0}
    harness.adapter = HttpProvider(harness.adapter._session, harness.provider.url, timeout_s=60, **promises)
    await harness.expire_leases()
    slow = asyncio.create_task((await harness.assemble()).saga.work())
    while not await harness.execute("SELECT 1 FROM redemptions WHERE leased"):
        assert not slow.done()
    assert await reason(act(harness, "Refund", one)) == "CONFLICT"
    await harness.expire_leases()
    await act(harness, "Refund", one)
    await harness.provider.stop(signal.SIGKILL)
    assert await slow == 1
    assert "lease lost" in caplog.messages
    ((state,),) = await harness.execute("SELECT state FROM redemptions")
    assert state == "RELEASING_POINTS"


async def test_a_key_is_one_action_and_what_was_done_stands(harness: Harness) -> None:
    tenant = await harness.tenant()
    one = await parked(harness, tenant)
    first = await act(harness, "Refund", one)
    assert await act(harness, "Refund", one) == first
    assert await reason(act(harness, "Refund", one, evidence="another")) == "IDEMPOTENCY_KEY_REUSED"
    assert await reason(act(harness, "Refund", one, key="b")) == "CONFLICT"
    rows = await harness.execute("SELECT action, actor, evidence FROM review_actions")
    assert rows == [("REFUND", "op_kim", "ticket 7")]
    for statement in ("UPDATE review_actions SET actor = 'x'", "DELETE FROM review_actions"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            await harness.execute(statement)


async def test_of_two_operators_one_decides(harness: Harness) -> None:
    tenant = await harness.tenant()
    one = await parked(harness, tenant)
    items = [review_pb2.IssuedItem(number=1, code="TYPED-CODE-1")]
    results = await asyncio.gather(
        act(harness, "Refund", one, key="a"),
        act(harness, "Issue", one, key="b", items=items),
        act(harness, "Refund", one, key="c"),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Review) for result in results) == 1
    assert len(await harness.execute("SELECT 1 FROM review_actions")) == 1


async def test_a_desk_that_dies_with_a_redemption_in_hand_leaves_it_to_the_workers(harness: Harness) -> None:
    tenant = await harness.tenant()
    one = await parked(harness, tenant, "error_after_accept")
    failpoints.load("review.claimed:raise")
    calling = asyncio.create_task(act(harness, "Query", one))
    await eventually(lambda: not failpoints.armed())
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    await work(harness)
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"


async def test_what_makes_no_sense_is_refused(harness: Harness) -> None:
    tenant, rival = await harness.tenant(), await harness.tenant()
    one = await parked(harness, tenant)
    item = review_pb2.IssuedItem(number=1, code="A")
    for items in ([], [item, item], [review_pb2.IssuedItem(number=2, code="A")]):
        assert await reason(act(harness, "Issue", one, items=items)) == "INVALID_REQUEST"
    assert await reason(act(harness, "Refund", one, evidence="")) == "INVALID_REQUEST"
    assert await reason(act(harness, "Release", one)) == "CONFLICT"
    theirs = Review(program_id=rival.program_id, redemption_id=one.redemption_id)
    assert await reason(act(harness, "Refund", theirs)) == "ORDER_NOT_FOUND"
    assert (await tenant.points(), await tenant.funding()) == HELD
