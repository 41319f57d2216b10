"""Redemptions by every kind of provider, between a real ledger and real providers: where each goes, and that it is paid
once there, or given back."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from rewards.fulfillment.v1 import redemptions_pb2 as pb
from rewards.fulfillment.v1 import review_pb2

from devmesh.sockets import choose_port
from fulfillment_svc.redemptions import failpoints
from fulfillment_svc.tests import mapped
from fulfillment_svc.tests.harness import Harness, address
from fulfillment_svc.tests.refusals import reason
from fulfillment_svc.tests.test_review import FULL, FUNDED, HELD, act, desk, operator, parked, work
from fulfillment_svc.tests.test_saga import part
from fulfillment_svc.tests.world import CASH, Funds, Tenant
from ledger_svc.verify.report import faults, findings

PAID = Funds(8_000, 0), Funds(97_500, 0)
CASHBACK: dict[str, Any] = {"reward_id": CASH, "quantity": 2, "denomination": 12.5}
ORDER_POINTS = ["order.before", "order.sent", "order.after", "order.stored"]


async def routed(harness: Harness) -> list[tuple[str, str, str]]:
    rows = await harness.execute("SELECT state, provider, route FROM redemptions ORDER BY redemption_id")
    return [(row.state, row.provider, row.route) for row in rows]


def nowhere() -> str:
    return f"http://127.0.0.1:{choose_port()}"


async def live(harness: Harness, folder: Path, *providers: dict[str, Any]) -> Tenant:
    """A live program whose line these are."""
    harness.configured = mapped.configured(folder, *providers)
    await harness.start()
    return await harness.tenant(sandbox=False)


async def test_cashback_is_on_the_members_account_and_what_it_cost_is_gone(harness: Harness) -> None:
    tenant, recipient = await harness.tenant(assets=["USD"]), address()
    created = await harness.create(tenant, "k", recipient=recipient, **CASHBACK)
    await harness.finish(await harness.assemble())
    assert await routed(harness) == [("FULFILLED", "cashback", "cashback: SERVES")]
    assert (await tenant.points(), await tenant.funding()) == PAID
    assert await tenant.points("USD") == Funds(2_500, 0), "what left the funding"
    assert await harness.provider.journal(created.redemption_id) == []
    (mail,) = harness.mailbox.mails(recipient.email)
    for kind in ("plain", "html"):
        assert "25.00 USD has been credited" in part(mail, kind)
        assert "as good as cash" not in part(mail, kind), "there is no code in it"
    assert faults(await findings(harness.world.ledger.database_url)) == []


@pytest.mark.parametrize("name", ORDER_POINTS)
async def test_cashback_is_paid_once_wherever_it_is_interrupted(harness: Harness, name: str) -> None:
    tenant = await harness.tenant(assets=["USD"])
    await harness.create(tenant, "k", **CASHBACK)
    failpoints.load(f"{name}:raise")
    with pytest.raises(failpoints.Killed):
        await (await harness.assemble()).saga.work()
    # Whoever finds it announced and not paid may send it again only once a call that is on its way must be over.
    await harness.execute("UPDATE redemptions SET sent_at = sent_at - interval '1 minute'")
    await harness.finish(await harness.assemble())
    assert (await tenant.points(), await tenant.funding()) == PAID
    assert await tenant.points("USD") == Funds(2_500, 0)
    assert faults(await findings(harness.world.ledger.database_url)) == []


async def test_a_ledger_that_is_down_is_asked_later_and_pays_once(harness: Harness) -> None:
    tenant, room = await harness.tenant(assets=["USD"]), await harness.assemble()
    created = await harness.create(tenant, "k", **CASHBACK)
    await harness.world.ledger.stop()
    assert await room.saga.work() == 1
    assert (await harness.get(tenant, created.redemption_id)).failure_reason == "PROVIDER_UNAVAILABLE"
    await harness.world.start()
    await work(harness)
    await harness.execute("UPDATE redemptions SET sent_at = sent_at - interval '1 minute'")
    await harness.finish(await harness.assemble())
    assert await tenant.points("USD") == Funds(2_500, 0)
    assert (await tenant.points(), await tenant.funding()) == PAID


async def test_cashback_that_the_ledger_refuses_is_given_back(harness: Harness) -> None:
    tenant = await harness.tenant(assets=["USD"])
    created = await harness.create(tenant, "k", **CASHBACK)
    await tenant.set_member("m_1", active=False, version=2)
    await harness.finish(await harness.assemble())
    failed = await harness.get(tenant, created.redemption_id)
    assert (failed.status, failed.failure_reason) == (pb.Redemption.FAILED, "PROVIDER_MEMBER_NOT_ACTIVE")
    assert (await tenant.points(), await tenant.funding(), await tenant.points("USD")) == (FULL, FUNDED, Funds(0, 0))


async def test_a_program_without_the_currency_has_its_cashback_delivered(harness: Harness) -> None:
    tenant = await harness.tenant()
    await harness.create(tenant, "k", **CASHBACK)
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"
    assert await routed(harness) == [("FULFILLED", "sandbox", "cashback: CURRENCY, sandbox: SERVES")]


@pytest.mark.parametrize("issued", [True, False])
async def test_what_is_done_by_hand_waits_for_an_operator_and_is_never_sent(
    harness: Harness, tmp_path: Path, *, issued: bool
) -> None:
    tenant = await live(harness, tmp_path, {"name": "desk", "adapter": "by_hand"})
    created = await harness.create(tenant, "k")
    await work(harness, rounds=6)
    (one,) = (await desk(harness, tenant)).reviews
    assert (one.provider, one.reason, one.route) == ("desk", "PROVIDER_BY_HAND", "cashback: KIND, desk: SERVES")
    waiting = await harness.get(tenant, created.redemption_id)
    assert (waiting.status, waiting.failure_reason) == (pb.Redemption.REVIEW, "PROVIDER_BY_HAND")
    assert (await tenant.points(), await tenant.funding()) == HELD
    if issued:
        await act(harness, "Issue", one, items=[review_pb2.IssuedItem(number=1, code="BY-HAND-1")])
    else:
        await act(harness, "Refund", one)
    await work(harness, rounds=10)
    ended = await harness.get(tenant, created.redemption_id)
    assert ended.status == (pb.Redemption.FULFILLED if issued else pb.Redemption.FAILED)
    assert await tenant.points() == (Funds(9_200, 0) if issued else FULL)
    sent = await harness.execute("SELECT 1 FROM redemption_edges WHERE answer = 'SENT'")
    assert len(sent) == 1, "once left to the operator"
    assert await harness.execute("SELECT 1 FROM redemptions WHERE due_at IS NOT NULL") == []


async def test_what_could_not_go_out_goes_to_the_next_and_the_desk_knows_why(harness: Harness, tmp_path: Path) -> None:
    tenant = await live(
        harness,
        tmp_path,
        mapped.provider(nowhere(), name="down"),
        mapped.provider(harness.provider.url, name="french", countries=["FR"]),
        mapped.provider(harness.provider.url, name="giftly"),
    )
    created = await harness.create(tenant, "k")
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"
    why = "cashback: KIND, down: SERVES, down: UNREACHABLE, french: COUNTRY, giftly: SERVES"
    assert await routed(harness) == [("FULFILLED", "giftly", why)]
    request = review_pb2.GetReviewRequest(program_id=tenant.program_id, redemption_id=created.redemption_id)
    seen = await harness.desk.GetReview(request, metadata=operator())
    assert (seen.review.provider, seen.review.route) == ("giftly", why)
    steps = [(entry.state, entry.reason) for entry in seen.history if entry.state in ("ACCEPTED", "ORDERING")]
    assert steps == [("ACCEPTED", ""), ("ORDERING", ""), ("ACCEPTED", "PROVIDER_UNREACHABLE"), ("ORDERING", "")]


@pytest.mark.parametrize("time", [1, 2])
@pytest.mark.parametrize("name", ORDER_POINTS)
async def test_a_crash_on_the_way_to_the_next_never_makes_two_orders(
    harness: Harness, tmp_path: Path, name: str, time: int
) -> None:
    down = mapped.provider(nowhere(), name="down")
    tenant = await live(harness, tmp_path, down, mapped.provider(harness.provider.url))
    await harness.create(tenant, "k")
    failpoints.load(f"{name}:raise:{time}")
    room = await harness.assemble()
    with pytest.raises(failpoints.Killed):
        await room.saga.work()
    assert not failpoints.armed()
    await work(harness, rounds=6)
    ((state, provider, _),) = await routed(harness)
    if name in ("order.sent", "order.after") and time == 1:
        # Nobody can tell any more that nothing went out.
        assert (state, provider) == ("UNKNOWN", "down")
        assert (await tenant.points(), await tenant.funding()) == HELD
    else:
        assert provider == "giftly"
        assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"


@pytest.mark.parametrize("fault", ["timeout_then_success", "error_after_accept", "malformed_body", "unavailable"])
async def test_an_unknown_outcome_is_never_routed_anew(harness: Harness, tmp_path: Path, fault: str) -> None:
    first, second = (mapped.provider(harness.provider.url, name=name) for name in ("first", "second"))
    tenant = await live(harness, tmp_path, first, second)
    await harness.provider.fault(fault, next=1)
    created = await harness.create(tenant, "k")
    await harness.finish(await harness.assemble())
    assert await routed(harness) == [("FULFILLED", "first", "cashback: KIND, first: SERVES")]
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"
    assert await harness.issued(created.redemption_id) == 1


async def test_an_order_that_goes_out_again_stays_where_it_may_have_got_through(
    harness: Harness, tmp_path: Path
) -> None:
    first = mapped.provider(harness.provider.url, name="first")
    tenant = await live(harness, tmp_path, first, mapped.provider(nowhere(), name="second"))
    await harness.provider.fault("unavailable")
    await harness.create(tenant, "k")
    await work(harness, rounds=2)
    await harness.provider.stop()
    await work(harness, rounds=2)
    ((state, provider, _),) = await routed(harness)
    assert (state, provider) == ("UNKNOWN", "first")
    await harness.provider.start()
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"


async def test_a_sandbox_program_stays_in_the_sandbox_whatever_is_configured(harness: Harness, tmp_path: Path) -> None:
    harness.configured = mapped.configured(tmp_path, mapped.provider(nowhere(), name="real"))
    await harness.start()
    tenant = await harness.tenant()
    await harness.create(tenant, "k")
    await harness.provider.stop()
    await work(harness)
    ((state, provider, route),) = await routed(harness)
    assert (state, provider, route) == ("UNKNOWN", "sandbox", "cashback: KIND, sandbox: SERVES")
    await harness.provider.start()
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"


async def test_a_reward_that_nobody_delivers_is_refused_and_nothing_held(harness: Harness, tmp_path: Path) -> None:
    tenant = await live(harness, tmp_path, mapped.provider(nowhere(), countries=["US"]))
    assert await reason(harness.create(tenant, "k")) == "COUNTRY_NOT_SERVED"
    assert await reason(harness.create(tenant, "c", **CASHBACK)) == "COUNTRY_NOT_SERVED"
    harness.configured = ()
    await harness.start()
    assert await reason(harness.create(tenant, "l")) == "REWARD_UNAVAILABLE"
    assert (await tenant.points(), await tenant.funding()) == (FULL, FUNDED)


async def test_pending_is_no_alarm_until_it_is_overdue(harness: Harness, tmp_path: Path) -> None:
    slow = mapped.provider(harness.provider.url, pending_s=60)
    tenant = await live(harness, tmp_path, slow)
    await harness.provider.fault("pending", next=1, queries=5)
    created = await harness.create(tenant, "k")
    await work(harness, rounds=3)
    assert (await harness.get(tenant, created.redemption_id)).status == pb.Redemption.PROCESSING
    assert (await desk(harness, tenant)).reviews == []
    await harness.execute("UPDATE redemptions SET sent_at = sent_at - interval '2 minutes'")
    await work(harness)
    (one,) = (await desk(harness, tenant)).reviews
    assert one.reason == "PROVIDER_PENDING"
    assert await reason(act(harness, "Refund", one)) == "CONFLICT", "the provider may issue it any moment"
    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"


async def test_a_callback_ends_the_wait_for_what_is_pending(harness: Harness) -> None:
    tenant, room = await harness.tenant(), await harness.assemble()
    await harness.provider.fault("pending", next=1, queries=0)
    created = await harness.create(tenant, "k")
    assert await room.saga.work() == 1
    assert await room.saga.work() == 0, "it waits"
    await room.look_again("sandbox", UUID(created.redemption_id))
    assert await room.saga.work() == 1
    assert await harness.check(tenant, FULL, FUNDED) == "FULFILLED"


async def test_a_provider_that_was_taken_away_leaves_a_case_and_no_crash(harness: Harness, tmp_path: Path) -> None:
    tenant = await live(harness, tmp_path, mapped.provider(harness.provider.url))
    harness.configured = ()
    one = await parked(harness, tenant)
    assert (one.provider, one.reason) == ("giftly", "PROVIDER_NOT_CONFIGURED")
