"""Claiming an order by its link, through the real server and against a real ledger, catalog and provider."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from rewards.fulfillment.v1 import claims_pb2
from rewards.fulfillment.v1 import orders_pb2 as pb

from fulfillment_svc.tests.harness import Harness
from fulfillment_svc.tests.ordering import NOBODY, Ordering, ordering, outcome, token
from fulfillment_svc.tests.refusals import reason, refusal
from fulfillment_svc.tests.world import REWARD, Funds
from svckit.testing import headers

FULL = Funds(100_000, 0)
FULFILLED, FAILED, PROCESSING = pb.OrderClaim.FULFILLED, pb.OrderClaim.FAILED, pb.OrderClaim.PROCESSING


async def test_a_part_is_claimed_and_the_rest_stays(harness: Harness) -> None:
    mine = await ordering(harness)
    order = await mine.create()
    claim = await mine.claim(order, "c")
    assert (claim.status, claim.denomination, claim.reward_id) == (PROCESSING, 12.5, REWARD)
    await mine.finish()
    assert await mine.claim(order, "c") == claim, "the same key gets the same answer"
    shown = await mine.show(order)
    assert (shown.value, shown.remaining, shown.currency) == (25, 12.5, "USD")
    (made,) = shown.claims
    assert (made.status, made.denomination) == (FULFILLED, 12.5)
    (code,) = await mine.reveal(order)
    assert made.code_masked.endswith(code[-4:])
    assert code not in made.code_masked
    read = await mine.get(order)
    assert (read.status, read.remaining) == (pb.Order.PARTIALLY_REDEEMED, 12.5)
    await mine.check(FULL)
    await mine.claim(order, "c2")
    await mine.finish()
    assert (await mine.get(order)).status == pb.Order.REDEEMED
    await mine.check(FULL)
    assert await mine.events() == ["order.redeemed", "order.redeemed"]


async def test_looking_never_claims(harness: Harness) -> None:
    mine = await ordering(harness)
    order = await mine.create(recipient=pb.OrderRecipient(name="Ada", country="DE"))
    before = await harness.execute("SELECT * FROM orders")
    for _ in range(3):
        shown = await mine.show(order)
    assert (shown.recipient_name, shown.country) == ("Ada", "DE")
    assert [(one.reward_id, list(one.denominations)) for one in shown.menu] == [(REWARD, [10, 12.5])]
    assert await harness.execute("SELECT * FROM orders") == before
    assert await harness.execute("SELECT * FROM redemptions") == []


async def test_fifty_claims_of_the_whole_have_one_winner(harness: Harness) -> None:
    mine = await ordering(harness)
    order = await mine.create(value=12.5)
    outcomes = await asyncio.gather(*(outcome(mine.claim(order, f"c{number}")) for number in range(50)))
    assert Counter(outcomes) == {"CLAIMED": 1, "CLAIM_GONE": 49}
    await mine.finish()
    assert (await mine.get(order)).status == pb.Order.REDEEMED
    await mine.check(FULL)


async def test_fifty_times_the_same_claim_is_one(harness: Harness) -> None:
    mine = await ordering(harness)
    order = await mine.create()
    outcomes = await asyncio.gather(*(outcome(mine.claim(order, "c")) for _ in range(50)))
    assert set(outcomes) <= {"CLAIMED", "IDEMPOTENCY_IN_FLIGHT"}
    await mine.finish()
    assert (await mine.get(order)).remaining == 12.5
    await mine.check(FULL)


async def test_claims_of_parts_that_race_for_the_hold_are_all_paid(harness: Harness) -> None:
    mine = await ordering(harness)
    order = await mine.create(value=50.0)
    await asyncio.gather(*(mine.claim(order, f"c{number}", denomination=10.0) for number in range(5)))
    rooms = [await harness.assemble() for _ in range(5)]
    for _ in range(20):
        await asyncio.gather(*(room.saga.work() for room in rooms))
        await harness.expire_leases()
    await mine.finish()
    assert (await mine.get(order)).status == pb.Order.REDEEMED
    await mine.check(FULL)


async def test_a_link_that_is_gone_tells_nothing(harness: Harness) -> None:
    mine = await ordering(harness)
    used, off, over = [await mine.create(f"k{number}", value=12.5) for number in range(3)]
    await mine.claim(used, "c")
    await mine.finish()
    await mine.cancel(off)
    await harness.execute("UPDATE orders SET expires_at = now() WHERE order_id = :o", o=over.order_id)
    never = pb.Order(redemption_url=used.redemption_url[:-4] + "AAAA")
    for operation in (mine.show, _claim(mine)):
        told = [await refusal(operation(order)) for order in (used, off, over, never)]
        assert {one.status().SerializeToString() for one in told} == {told[0].status().SerializeToString()}
        assert await reason(operation(never)) == "CLAIM_GONE"


async def test_a_claim_that_cannot_be_had_leaves_its_value(harness: Harness) -> None:
    mine = await ordering(harness)
    order = await mine.create(value=12.5)
    await harness.provider.fault("reject")
    await mine.claim(order, "c")
    await mine.finish()
    read = await mine.get(order)
    assert (read.status, read.remaining, [one.status for one in read.claims]) == (pb.Order.PENDING, 12.5, [FAILED])
    await harness.provider.clear()
    await mine.claim(order, "c2")
    await mine.finish()
    assert (await mine.get(order)).status == pb.Order.REDEEMED
    await mine.check(FULL)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("DENOMINATION_INVALID", {"denomination": 11.0}),
    ("DENOMINATION_INVALID", {"denomination": 50.0}),
    ("COUNTRY_NOT_SERVED", {"country": "GB"}),
    ("REWARD_NOT_FOUND", {"reward_id": "nothing"}),
    ("REWARD_NOT_FOUND", {"reward_id": "visa", "denomination": 10.0}),
]


@pytest.mark.parametrize(("named", "changes"), REFUSED, ids=lambda one: one if isinstance(one, str) else "")
async def test_what_is_not_on_the_menu_there_is_refused(harness: Harness, named: str, changes: dict[str, Any]) -> None:
    mine = await ordering(harness)
    await mine.tenant.put_reward("visa")
    order = await mine.create()
    assert await reason(mine.claim(order, "c", **changes)) == named
    assert (await mine.show(order)).remaining == 25


async def test_an_order_keeps_what_it_was_quoted(harness: Harness) -> None:
    mine = await ordering(harness)
    await mine.tenant.put_reward("cards")
    order = await mine.create(reward_id="cards", denomination=25.0)
    await mine.tenant.put_reward("cards", name="Other cards", denominations=[25.0, 50.0])
    assert [list(one.denominations) for one in (await mine.show(order)).menu] == [[25]]
    assert await reason(mine.claim(order, "c", reward_id=REWARD)) == "REWARD_NOT_FOUND"
    assert await reason(mine.claim(order, "d", reward_id="cards", denomination=10.0)) == "DENOMINATION_INVALID"
    await mine.claim(order, "e", reward_id="cards", denomination=25.0)
    await mine.finish()
    rows = await harness.execute("SELECT reward_name, reward_version FROM redemptions")
    assert [tuple(row) for row in rows] == [("cards card", 1)]


async def test_whoever_has_claimed_sees_the_code_and_nobody_else(harness: Harness) -> None:
    mine = await ordering(harness)
    order, other = await mine.create(value=12.5), await mine.create("k2")
    claim = await mine.claim(order, "c")
    assert await _revealed(mine, order, claim.claim_id) == (PROCESSING, "")
    await mine.finish()
    (code,) = await mine.reveal(order)
    assert await _revealed(mine, order, claim.claim_id) == (FULFILLED, code)
    for link, claim_id in ((other, claim.claim_id), (order, order.order_id), (order, "")):
        assert await reason(_revealed(mine, link, claim_id)) == "CLAIM_GONE"
    for _ in range(8):
        await _revealed(mine, order, claim.claim_id)
    assert await reason(_revealed(mine, order, claim.claim_id)) == "RATE_LIMITED"
    seen = await harness.execute("SELECT actor, count(*) AS times FROM redemption_reveals GROUP BY actor")
    assert {row.actor: row.times for row in seen}["claim"] == 9


async def test_a_claim_is_no_redemption_to_be_called_off(harness: Harness) -> None:
    mine = await ordering(harness)
    order = await mine.create()
    claim = await mine.claim(order, "c")
    assert await reason(harness.cancel(mine.tenant, claim.claim_id)) == "NOT_CANCELLABLE"


def _claim(mine: Ordering) -> Any:
    return lambda order: mine.claim(order, "late")


async def _revealed(mine: Ordering, order: pb.Order, claim_id: str) -> tuple[int, str]:
    request = claims_pb2.RevealClaimRequest(token=token(order), claim_id=claim_id)
    shown = await mine.harness.claims.RevealClaim(request, metadata=headers(NOBODY))
    return shown.claim.status, shown.code
