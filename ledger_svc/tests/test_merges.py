"""Merged members in the ledger: what moves, who answers, what comes late, and how it is undone (G44)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rewards.identity.v1.programs_pb2 import Policy
from rewards.ledger.v1 import adjustments_pb2, directory_pb2, movements_pb2, points_pb2

from ledger_svc.tests.conftest import PROGRAM, Ledger, running
from ledger_svc.verify.report import faults, findings


@pytest.fixture(autouse=True)
async def sound(ledger: Ledger) -> Any:
    yield
    assert faults(await findings(ledger.database_url)) == []


async def alias(ledger: Ledger, member_id: str, alias_of: str, version: int) -> None:
    await ledger.directory.StoreMember(
        directory_pb2.StoreMemberRequest(
            program_id=PROGRAM, member_id=member_id, active=True, version=version, alias_of=alias_of
        )
    )


async def merge(ledger: Ledger, survivor: str = "m_1", merged: str = "m_2", version: int = 2) -> None:
    await alias(ledger, merged, survivor, version)


async def lots(ledger: Ledger, member_id: str) -> list[tuple[int, str]]:
    found = await ledger.call("GetLots", points_pb2.GetLotsRequest(member_id=member_id))
    return [(lot.remaining, lot.expires_at.ToJsonString()[:10]) for lot in found.lots]


def redeem(points: int, member_id: str = "m_2") -> points_pb2.RedeemPointsRequest:
    return points_pb2.RedeemPointsRequest(member_id=member_id, points=points)


async def balances(ledger: Ledger, *member_ids: str) -> list[tuple[int, int]]:
    found = [await ledger.balance(member_id) for member_id in member_ids]
    return [(one.balance, one.available) for one in found]


async def test_every_lot_moves_with_its_expiry_and_the_merged_id_answers(ledger: Ledger) -> None:
    await ledger.program(more_assets=["STARS"])
    await ledger.member("m_2")
    await ledger.credit("m_1", 10, expires_at="2098-06-30")
    await ledger.credit("m_2", 30, expires_at="2097-06-29")
    await ledger.credit("m_2", 5)
    await ledger.credit("m_2", 7, asset="STARS")
    await merge(ledger)
    expected = [(30, "2097-06-29"), (10, "2098-06-30"), (5, "1970-01-01")]
    assert await lots(ledger, "m_1") == await lots(ledger, "m_2") == expected
    assert await balances(ledger, "m_1", "m_2") == [(45, 45), (45, 45)]
    stars = points_pb2.GetBalanceRequest(member_id="m_1", asset="STARS")
    assert (await ledger.call("GetBalance", stars)).balance == 7
    assert (await ledger.call("RedeemPoints", redeem(40))).balance == 5
    await ledger.credit("m_2", 1)
    adjust = adjustments_pb2.CreateAdjustmentRequest(member_id="m_2", points=-2, reason_code="R", note="n", ticket="t")
    await ledger.program(more_assets=["STARS"], adjust_alone_max_points=10)
    assert (await ledger.move(adjust)).adjustment.member_id == "m_1"
    hold = await ledger.move(movements_pb2.CreateHoldRequest(member_id="m_2", points=3))
    assert await balances(ledger, "m_1") == [(4, 1)]
    await ledger.move(movements_pb2.CapturePointsHoldRequest(hold_id=hold.hold_id))
    assert await balances(ledger, "m_1", "m_2") == [(1, 1), (1, 1)]
    summary = await ledger.call("GetStatementSummary", points_pb2.GetStatementSummaryRequest(member_id="m_1"))
    assert (summary.transferred_in, summary.closing) == (35, 1)


async def test_merging_again_and_late_copies_move_nothing(ledger: Ledger) -> None:
    await ledger.member("m_2")
    await ledger.credit("m_2", 30)
    await asyncio.gather(*(merge(ledger) for _ in range(8)))
    assert await balances(ledger, "m_1") == [(30, 30)]
    await alias(ledger, "m_2", "", 3)
    await merge(ledger)  # an old message that comes after the undoing
    assert await balances(ledger, "m_1", "m_2") == [(0, 0), (30, 30)]


async def test_what_was_redeemed_before_is_reversed_to_the_survivor(ledger: Ledger) -> None:
    await ledger.member("m_2")
    await ledger.credit("m_2", 30, expires_at="2097-06-29")
    spent = await ledger.call("RedeemPoints", redeem(20))
    await merge(ledger)
    back = await ledger.call("ReversalPoints", points_pb2.ReversalPointsRequest(transaction_id=spent.transaction_id))
    assert (back.restored, back.balance) == (20, 30)
    assert sorted(await lots(ledger, "m_1")) == [(10, "2097-06-29"), (20, "2097-06-29")]


@pytest.mark.parametrize(("debt", "left"), [(Policy.DEBT_UNSPECIFIED, -20), (Policy.WRITE_OFF, 0)])
async def test_what_was_earned_before_is_taken_back_from_the_survivor(
    ledger: Ledger, debt: Policy.Debt.ValueType, left: int
) -> None:
    await ledger.program(debt=debt)
    await ledger.member("m_2")
    earned = await ledger.credit("m_2", 30)
    await merge(ledger)
    await ledger.credit("m_1", 10)
    await ledger.call("RedeemPoints", redeem(30))
    request = movements_pb2.ReverseTransactionRequest(transaction_id=earned.transaction_id)
    assert (await ledger.move(request)).balance == left
    assert await balances(ledger, "m_1") == [(left, 0)]
    await ledger.credit("m_1", 50)
    assert (await balances(ledger, "m_2"))[0][0] == left + 50


async def test_a_debt_goes_along(ledger: Ledger) -> None:
    await ledger.member("m_2")
    earned = await ledger.credit("m_2", 30)
    await ledger.call("RedeemPoints", redeem(30))
    await ledger.move(movements_pb2.ReverseTransactionRequest(transaction_id=earned.transaction_id))
    await ledger.credit("m_1", 10)
    await merge(ledger)
    assert await balances(ledger, "m_1", "m_2") == [(-20, 0), (-20, 0)]
    await ledger.credit("m_2", 25)
    assert await balances(ledger, "m_1") == [(5, 5)]


async def test_a_hold_stays_until_it_ends_and_its_rest_moves_then(ledger: Ledger) -> None:
    await ledger.member("m_2")
    await ledger.credit("m_2", 100, expires_at="2097-06-29")
    one, two, _ = [
        await ledger.move(movements_pb2.CreateHoldRequest(member_id="m_2", points=20, expires_at=until))
        for until in ("", "", (datetime.now(UTC) + timedelta(hours=1)).isoformat())
    ]
    await merge(ledger)
    assert await balances(ledger, "m_1") == [(40, 40)]
    captured = await ledger.move(movements_pb2.CapturePointsHoldRequest(hold_id=one.hold_id, points=5))
    assert captured.balance == 55
    assert (await ledger.move(movements_pb2.VoidPointsHoldRequest(hold_id=two.hold_id))).available == 75
    await ledger.program(clock_offset_s=2 * 3600)
    assert await ledger.sweeper.step() == 1
    assert await balances(ledger, "m_1", "m_2") == [(95, 95), (95, 95)]
    assert {expires for _, expires in await lots(ledger, "m_1")} == {"2097-06-29"}


async def test_an_undone_merge_gives_back_what_is_left_of_the_lots_it_brought(ledger: Ledger) -> None:
    for member_id in ("m_2", "m_3"):
        await ledger.member(member_id)
    await ledger.credit("m_1", 10, expires_at="2098-01-01")
    await ledger.credit("m_2", 30, expires_at="2097-06-29")
    await ledger.credit("m_2", 5)
    await merge(ledger)
    await ledger.call("RedeemPoints", redeem(12))
    await ledger.credit("m_2", 100, expires_at="2099-01-01")  # earned by whoever they are now
    # Into a third and out again, then apart.
    await merge(ledger, "m_3", "m_1")
    assert await balances(ledger, "m_1", "m_2", "m_3") == [(133, 133)] * 3
    await alias(ledger, "m_1", "", 3)
    assert await balances(ledger, "m_1", "m_2", "m_3") == [(133, 133), (133, 133), (0, 0)]
    await alias(ledger, "m_2", "", 3)
    assert await lots(ledger, "m_2") == [(18, "2097-06-29"), (5, "1970-01-01")]
    assert await lots(ledger, "m_1") == [(10, "2098-01-01"), (100, "2099-01-01")]
    await merge(ledger, version=4)
    assert await balances(ledger, "m_1") == [(133, 133)]


async def test_a_transfer_between_the_two_is_one_to_oneself(ledger: Ledger) -> None:
    await ledger.program(transfer_max_points=100)
    await ledger.member("m_2")
    await ledger.credit("m_2", 30)
    await merge(ledger)
    transfer = movements_pb2.CreateTransferRequest(from_member_id="m_1", to_member_id="m_2", points=1)
    assert await ledger.cannot_move(transfer) == "INVALID_REQUEST"


async def test_no_point_is_lost_or_doubled_while_members_are_merged_and_apart_again(
    ledger: Ledger, authority: Any
) -> None:
    await ledger.member("m_2")
    await ledger.credit("m_2", 1_000)
    earned = spent = 0

    async def work(one: Ledger) -> None:
        nonlocal earned, spent
        for _ in range(15):
            await one.credit("m_2", 10)
            earned += 10
            held = await one.move(movements_pb2.CreateHoldRequest(member_id="m_2", points=5))
            await one.call("RedeemPoints", redeem(3))
            await one.move(movements_pb2.CapturePointsHoldRequest(hold_id=held.hold_id, points=2))
            spent += 5

    async def remarry() -> None:
        for version in range(2, 14):
            await alias(ledger, "m_2", "m_1" if version % 2 == 0 else "", version)

    async with running(ledger.database_url, authority) as other:
        await asyncio.gather(work(ledger), work(other), remarry())
        await merge(ledger, version=20)
        assert await balances(other, "m_1", "m_2") == [(1_000 + earned - spent,) * 2] * 2


async def test_a_merge_is_refused_nothing_not_even_more_than_a_balance_may_be(ledger: Ledger) -> None:
    await ledger.member("m_2")
    for member_id in ("m_1", "m_2"):
        await ledger.credit(member_id, 2**53)
    spent = await ledger.call("RedeemPoints", redeem(10))
    await merge(ledger)
    assert (await ledger.balance("m_1")).balance == 2**54 - 10
    back = await ledger.call("ReversalPoints", points_pb2.ReversalPointsRequest(transaction_id=spent.transaction_id))
    assert back.balance == 2**54
