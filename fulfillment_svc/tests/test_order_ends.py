"""How an order ends: run out, called off, or torn apart by a crash. Whatever happens, all of its value is accounted
for."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rewards.fulfillment.v1 import orders_pb2 as pb

from fulfillment_svc.orders import store
from fulfillment_svc.redemptions import failpoints
from fulfillment_svc.tables import programs
from fulfillment_svc.tests.harness import Harness
from fulfillment_svc.tests.ordering import Ordering, mail_address, ordering, outcome
from fulfillment_svc.tests.outside import eventually
from fulfillment_svc.tests.refusals import reason
from fulfillment_svc.tests.test_fees import FEES
from fulfillment_svc.tests.world import REWARD, Funds

FULL = Funds(100_000, 0)
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()


async def test_what_is_left_goes_back_when_the_time_is_over(harness: Harness) -> None:
    mine = await ordering(harness)
    order = await mine.create(expires_at=TOMORROW)
    await mine.claim(order, "c")
    await mine.finish()
    await mine.expire()
    assert (await mine.get(order)).status == pb.Order.PARTIALLY_REDEEMED, "it is not over yet"
    await _pass(mine, days=2)
    assert await reason(mine.claim(order, "late")) == "CLAIM_GONE", "whether or not a worker was there"
    await mine.expire()
    await mine.finish()
    read = await mine.get(order)
    assert (read.status, read.remaining, read.returned) == (pb.Order.EXPIRED, 0, 12.5)
    await mine.check(FULL)
    assert await mine.events() == ["order.redeemed", "order.expired"]
    assert len(await mine.reveal(order)) == 1, "what was claimed stays claimed"


async def test_a_claim_and_the_expiry_have_one_winner(harness: Harness) -> None:
    mine = await ordering(harness)
    orders = [await mine.create(f"k{number}", value=12.5, expires_at=TOMORROW) for number in range(20)]
    ordered = await harness.assemble_orders(await harness.assemble())

    async def closes() -> None:
        # Both know the same row only by its lock, so the clock is one that lets the claims in too.
        over = datetime.now(UTC) + timedelta(days=2)
        while await harness.db.transact(lambda tx: store.expire(tx, mine.tenant.program_id, over, 3)):
            await ordered.saga.work()

    claims = [outcome(mine.claim(order, "c")) for order in orders]
    closing, *outcomes = await asyncio.gather(closes(), *claims)
    assert closing is None
    assert set(outcomes) <= {"CLAIMED", "CLAIM_GONE"}
    await mine.finish()
    ends = Counter([(await mine.get(order)).status for order in orders])
    assert ends == +Counter(
        {pb.Order.REDEEMED: outcomes.count("CLAIMED"), pb.Order.EXPIRED: outcomes.count("CLAIM_GONE")}
    )
    await mine.check(FULL)


@pytest.mark.parametrize("fault", ["", "reject"])
async def test_a_claim_under_way_is_waited_for(harness: Harness, fault: str) -> None:
    mine = await ordering(harness)
    order = await mine.create()
    if fault:
        await harness.provider.fault(fault)
    await mine.claim(order, "c")
    cancelled = await mine.cancel(order)
    assert (cancelled.status, cancelled.returned) == (pb.Order.CANCELLED, 0)
    assert await mine.tenant.funding() == Funds(100_000, 2_500), "nothing goes back while a claim may need it"
    ordered = await harness.assemble_orders(await harness.assemble())
    assert await ordered.saga.work() == 1
    assert await mine.tenant.funding() == Funds(100_000, 2_500)
    await mine.finish()
    read = await mine.get(order)
    assert (read.status, read.returned) == (pb.Order.CANCELLED, 25 if fault else 12.5)
    await mine.check(FULL)


async def test_an_order_is_called_off_once(harness: Harness) -> None:
    mine = await ordering(harness)
    order = await mine.create()
    off = await mine.cancel(order)
    assert await mine.cancel(order) == off
    assert await reason(mine.cancel(order, "again")) == "NOT_CANCELLABLE"
    assert await reason(mine.claim(order, "c")) == "CLAIM_GONE"
    await mine.finish()
    assert (await mine.get(order)).returned == 25
    assert await mine.events() == ["order.cancelled"]
    await mine.check(FULL)
    used = await mine.create("k2", value=12.5)
    await mine.claim(used, "c")
    assert await reason(mine.cancel(used, "late")) == "NOT_CANCELLABLE"


async def test_a_link_that_no_mail_brings_is_seen_and_can_be_called_off(harness: Harness) -> None:
    mine = await ordering(harness)
    await harness.mailbox.stop()
    order = await mine.create(recipient_email=mail_address(), delivery=pb.Order.EMAIL)
    ordered = await harness.assemble_orders(await harness.assemble())
    assert await ordered.saga.work() == 1
    assert (await mine.get(order)).status == pb.Order.PENDING, "the mail is tried again"
    await mine.cancel(order)
    await mine.finish()
    assert (await mine.get(order)).returned == 25
    await harness.mailbox.start()
    await mine.check(FULL)


PLACED = [name for name in failpoints.OF_ORDERS if name.startswith(("place", "fund", "invite"))]
DIRECT = ["fund.before", "fund.after", "fund.stored", "order.sent", "order.after", "capture-funding.before"]
DIRECT += ["capture-funding.after", "capture-funding.stored", "deliver.after", "deliver.stored"]
CLAIMED = ["claim.before", "claim.after", "screen.stored", "order.sent", "order.stored", "capture-funding.before"]
CLAIMED += ["capture-funding.after", "capture-funding.stored", "deliver.before", "deliver.after", "deliver.stored"]
REJECTED = ["order.sent", "order.after", "order.stored"]
CLOSED = [name for name in failpoints.OF_ORDERS if name.startswith("give-back")]


@pytest.mark.parametrize("name", PLACED)
async def test_a_crash_while_an_order_is_placed_holds_its_value_once(harness: Harness, name: str) -> None:
    mine, to = await ordering(harness), mail_address()
    await _crash(mine, name, mine.create(recipient_email=to, delivery=pb.Order.EMAIL))
    order = await mine.create(recipient_email=to, delivery=pb.Order.EMAIL)
    await mine.finish()
    assert {mail["Message-ID"] for mail in harness.mailbox.mails(to)} == {f"<{order.order_id}@rewards.mesh>"}
    assert await mine.tenant.funding() == Funds(100_000, 2_500)
    await mine.check(FULL)


@pytest.mark.parametrize("name", ["fund.before", "fund.after", "fund.stored"])
async def test_a_crash_on_the_way_to_a_refusal_holds_nothing(harness: Harness, name: str) -> None:
    mine = await ordering(harness, funding=10.0)
    await _crash(mine, name, mine.create())
    assert await reason(mine.create()) == "INSUFFICIENT_FUNDS"
    await mine.check(Funds(1_000, 0))


@pytest.mark.parametrize("name", DIRECT)
async def test_a_crash_on_the_way_to_a_mailed_code_issues_it_once(harness: Harness, name: str) -> None:
    mine, to = await ordering(harness), mail_address()
    named: dict[str, Any] = {"reward_id": REWARD, "denomination": 12.5}
    await _crash(mine, name, mine.create(recipient_email=to, delivery=pb.Order.EMAIL, **named))
    order = await mine.create(recipient_email=to, delivery=pb.Order.EMAIL, **named)
    await mine.finish()
    assert (await mine.get(order)).status == pb.Order.REDEEMED
    assert len({mail["Message-ID"] for mail in harness.mailbox.mails(to)}) == 1
    await mine.check(FULL)


@pytest.mark.parametrize("name", CLAIMED)
async def test_a_crash_while_a_part_is_claimed_takes_it_once(harness: Harness, name: str) -> None:
    mine = await ordering(harness, fees=FEES)
    order = await mine.create()
    await _crash(mine, name, mine.claim(order, "c"))
    await mine.claim(order, "c")
    await mine.finish()
    assert (await mine.get(order)).remaining == 12.5
    await mine.check(FULL)


@pytest.mark.parametrize("name", REJECTED)
async def test_a_crash_while_a_claim_fails_gives_its_value_back_once(harness: Harness, name: str) -> None:
    mine = await ordering(harness)
    order = await mine.create()
    await harness.provider.fault("reject")
    await _crash(mine, name, mine.claim(order, "c"))
    assert (await mine.get(order)).remaining == 25
    await mine.check(FULL)


@pytest.mark.parametrize("name", CLOSED)
async def test_a_crash_while_the_rest_goes_back_gives_it_once(harness: Harness, name: str) -> None:
    mine = await ordering(harness)
    order = await mine.create()
    await mine.claim(order, "c")
    await _crash(mine, name, mine.cancel(order))
    assert (await mine.get(order)).returned == 12.5
    assert (await mine.events()).count("order.cancelled") == 1
    await mine.check(FULL)


async def _crash(mine: Ordering, name: str, call: object) -> None:
    """Calls, dies at the failpoint on the way, and has other workers finish."""
    failpoints.load(f"{name}:raise")
    # A call whose server dies is never answered, so the caller hangs up once that has happened.
    calling = asyncio.ensure_future(call)  # type: ignore[call-overload]
    await eventually(lambda: calling.done() or not failpoints.armed())
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    await mine.finish()
    assert not failpoints.armed(), "this crash never came"


async def _pass(mine: Ordering, days: int) -> None:
    """Moves the program's clock on."""
    program = mine.tenant.program
    program.clock_offset_s, program.version = days * 86_400, program.version + 1
    await mine.harness.db.transact(lambda tx: programs.store(tx, program))
