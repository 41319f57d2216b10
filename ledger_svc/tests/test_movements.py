"""Clawbacks, transfers, partners' holds, expiry and batches, through the real server."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rewards.identity.v1.programs_pb2 import Policy
from rewards.ledger.v1 import adjustments_pb2, journal_pb2, movements_pb2, points_pb2

from ledger_svc.journal.engine import TOGETHER_MAX
from ledger_svc.journal.values import Key, Owner
from ledger_svc.statements import store
from ledger_svc.tests.conftest import PROGRAM, SCOPES, Ledger, running
from ledger_svc.verify.report import faults, findings
from svckit.clock import new_id
from svckit.db import Database
from svckit.testing import headers, partner


def redeem(points: int) -> points_pb2.RedeemPointsRequest:
    return points_pb2.RedeemPointsRequest(member_id="m_1", points=points)


async def test_an_earning_is_taken_back_also_after_it_was_spent(ledger: Ledger) -> None:  # G11
    earned = await ledger.credit("m_1", 100)
    await ledger.call("RedeemPoints", redeem(80))
    request = movements_pb2.ReverseTransactionRequest(transaction_id=earned.transaction_id)
    taken = await ledger.move(request)
    assert (taken.points_reversed, taken.balance) == (100, -80)
    state = await ledger.balance("m_1")
    assert (state.balance, state.available) == (-80, 0)
    assert await ledger.refused("RedeemPoints", redeem(1)) == "INSUFFICIENT_POINTS"
    assert (await ledger.credit("m_1", 100)).balance == 20
    assert await ledger.cannot_move(request) == "DUPLICATE_REVERSAL"
    assert (await ledger.call("RedeemPoints", redeem(20))).balance == 0


async def test_a_debt_is_written_off_where_the_program_says_so(ledger: Ledger) -> None:
    await ledger.program(debt=Policy.WRITE_OFF)
    earned = await ledger.credit("m_1", 100)
    await ledger.call("RedeemPoints", redeem(80))
    request = movements_pb2.ReverseTransactionRequest(transaction_id=earned.transaction_id)
    taken = await ledger.move(request)
    assert (taken.points_reversed, taken.balance) == (20, 0)


async def test_a_reversal_of_a_redemption_fills_the_debt_first(ledger: Ledger) -> None:
    earned = await ledger.credit("m_1", 100)
    spent = await ledger.call("RedeemPoints", redeem(100))
    await ledger.move(
        movements_pb2.ReverseTransactionRequest(transaction_id=earned.transaction_id, amount=60),
    )
    back = await ledger.call("ReversalPoints", points_pb2.ReversalPointsRequest(transaction_id=spent.transaction_id))
    assert (back.restored, back.balance) == (100, 40)
    assert (await ledger.call("RedeemPoints", redeem(40))).balance == 0


async def test_transfers_are_off_bounded_and_keep_the_expiry(ledger: Ledger) -> None:  # G18
    await ledger.member("m_2")
    await ledger.credit("m_1", 100, expires_at="2098-12-31")
    transfer = movements_pb2.CreateTransferRequest(from_member_id="m_1", to_member_id="m_2", points=60)
    assert await ledger.cannot_move(transfer) == "PERMISSION_DENIED"
    await ledger.program(transfer_max_points=60)
    moved = await ledger.move(transfer)
    assert moved.balance == 40
    asked = points_pb2.GetRedemptionRequest(transaction_id=moved.transaction_id)
    assert (await ledger.call("GetRedemption", asked)).status == points_pb2.GetRedemptionResponse.NOT_SEEN
    assert (await ledger.balance("m_2")).balance == 60
    assert await ledger.cannot_move(transfer) == "INSUFFICIENT_POINTS"
    over = movements_pb2.CreateTransferRequest(from_member_id="m_1", to_member_id="m_2", points=61)
    assert await ledger.cannot_move(over) == "AMOUNT_OUT_OF_RANGE"
    same = movements_pb2.CreateTransferRequest(from_member_id="m_1", to_member_id="m_1", points=1)
    assert await ledger.cannot_move(same) == "INVALID_REQUEST"


async def test_a_hold_that_runs_out_frees_its_points(ledger: Ledger) -> None:  # G7
    await ledger.credit("m_1", 100)
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    hold = await ledger.move(movements_pb2.CreateHoldRequest(member_id="m_1", points=70, expires_at=soon))
    assert (await ledger.balance("m_1")).available == 30
    await ledger.program(clock_offset_s=2 * 3600)
    capture = movements_pb2.CapturePointsHoldRequest(hold_id=hold.hold_id)
    assert await ledger.cannot_move(capture) == "HOLD_NOT_ACTIVE"
    assert await ledger.sweeper.step() == 1
    state = await ledger.balance("m_1")
    assert (state.balance, state.available, state.held) == (100, 100, 0)
    assert await ledger.sweeper.step() == 0


async def test_points_run_out_by_policy_and_are_posted_once(ledger: Ledger) -> None:  # G3
    await ledger.program(expiry=Policy.DAYS, expiry_count=10)
    await ledger.credit("m_1", 100)
    await ledger.credit("m_1", 5, expires_at="2098-12-31")
    await ledger.program(expiry=Policy.DAYS, expiry_count=10, clock_offset_s=11 * 24 * 3600)
    assert (await ledger.balance("m_1")).balance == 5
    first = await ledger.move(movements_pb2.CreateExpirationsRequest(member_id="m_1"))
    assert (first.expired, first.accounts) == (100, 1)
    assert (await ledger.move(movements_pb2.CreateExpirationsRequest())).expired == 0
    history = await ledger.call("GetTransactionHistory", points_pb2.GetTransactionHistoryRequest(member_id="m_1"))
    assert next((t.kind, t.points) for t in history.transactions) == (points_pb2.Transaction.EXPIRE, -100)


async def test_a_program_may_have_several_assets(ledger: Ledger) -> None:
    in_stars = points_pb2.GetBalanceRequest(member_id="m_1", asset="STARS")
    assert await ledger.refused("GetBalance", in_stars) == "INVALID_REQUEST"
    await ledger.program(more_assets=["STARS"])
    await ledger.credit("m_1", 7, asset="STARS")
    await ledger.credit("m_1", 5)
    stars = await ledger.call("GetBalance", in_stars)
    assert (stars.balance, (await ledger.balance("m_1")).balance) == (7, 5)


async def batch(ledger: Ledger, mode: Any, *items: journal_pb2.PostBatchItem) -> list[journal_pb2.PostBatchResult]:
    request = journal_pb2.PostBatchRequest(mode=mode, items=items)
    answer = await ledger.batches.PostBatch(request, timeout=10, metadata=headers(partner(PROGRAM, *SCOPES)))
    return list(answer.results)


def item(key: str, points: int) -> journal_pb2.PostBatchItem:
    return journal_pb2.PostBatchItem(idempotency_key=key, redeem=redeem(points))


def outcomes(results: list[journal_pb2.PostBatchResult]) -> list[str]:
    return [f"{result.WhichOneof('outcome')}{'*' if result.replayed else ''}" for result in results]


@pytest.mark.parametrize("more", [0, TOGETHER_MAX], ids=["posted with others", "posted by itself"])
async def test_a_batch_has_an_outcome_for_each_item(ledger: Ledger, more: int) -> None:  # G60, G61
    await ledger.credit("m_1", 100)
    mode = journal_pb2.PostBatchRequest
    sent = [item("a", 60), item("b", 60), item("a", 60), item("c", 40), item("a", 1)]
    in_vain = [item(f"d-{number}", 1) for number in range(more)]
    results = await batch(ledger, mode.CONTINUE, *sent, *in_vain)
    assert outcomes(results) == ["redeem", "refusal", "redeem*", "redeem", "refusal", *["refusal"] * more]
    reasons = [r.refusal.reason for r in results if r.refusal.reason]
    assert reasons == ["INSUFFICIENT_POINTS", "IDEMPOTENCY_KEY_REUSED", *["INSUFFICIENT_POINTS"] * more]
    assert (await ledger.balance("m_1")).balance == 0
    again = await batch(ledger, mode.CONTINUE, item("a", 60), item("b", 60))
    assert outcomes(again) == ["redeem*", "refusal*"]
    assert await ledger.refused("RedeemPoints", redeem(60), "b") == "INSUFFICIENT_POINTS"


async def test_a_batch_may_stop_or_be_all_or_none(ledger: Ledger) -> None:
    await ledger.credit("m_1", 100)
    mode = journal_pb2.PostBatchRequest
    none = await batch(ledger, mode.ATOMIC, item("a", 60), item("b", 60))
    assert outcomes(none) == ["skipped", "refusal"]
    assert (await ledger.balance("m_1")).balance == 100
    stopped = await batch(ledger, mode.STOP_ON_ERROR, item("a", 60), item("b", 60), item("c", 10))
    assert outcomes(stopped) == ["redeem", "refusal", "skipped"]
    assert (await ledger.balance("m_1")).balance == 40
    both = await batch(ledger, mode.ATOMIC, item("a", 60), item("c", 40))
    assert outcomes(both) == ["redeem*", "redeem"]


async def test_before_a_transfer_its_points_were_the_givers(ledger: Ledger) -> None:
    await ledger.program(transfer_max_points=100)
    await ledger.member("m_2")
    await ledger.credit("m_1", 30, expires_at="2099-06-30")
    before = datetime.now(UTC)
    await ledger.move(movements_pb2.CreateTransferRequest(from_member_id="m_1", to_member_id="m_2", points=20))
    db = Database(ledger.database_url)
    async with db.read() as tx:
        held = {
            (member_id, at): [lot.remaining for lot in await store.lots_as_of(tx, key, at)]
            for member_id in ("m_1", "m_2")
            for at in (before, datetime.now(UTC))
            if (key := Key(PROGRAM, Owner.MEMBER, member_id, "PTS"))
        }
    await db.close()
    assert list(held.values()) == [[30], [10], [], [20]]


async def test_taking_back_what_is_gone_already_posts_nothing_and_names_nothing(ledger: Ledger) -> None:
    await ledger.program(debt=Policy.WRITE_OFF)
    earned = await ledger.credit("m_1", 100)
    await ledger.call("RedeemPoints", redeem(100))
    request = movements_pb2.ReverseTransactionRequest(transaction_id=earned.transaction_id)
    taken = await ledger.move(request, key="k-1")
    assert (taken.reversal_id, taken.points_reversed, taken.balance) == ("", 0, 0)
    assert await ledger.move(request, key="k-1") == taken
    assert not faults(await findings(ledger.database_url))


async def test_a_batch_that_two_processes_post_at_once_has_one_outcome(ledger: Ledger, authority: Any) -> None:
    async with running(ledger.database_url, authority) as other:
        for n in range(10):
            # It locks no account, so that nothing but the key tells the twins apart.
            unknown = points_pb2.ReversalPointsRequest(transaction_id=str(new_id()))
            item = journal_pb2.PostBatchItem(idempotency_key=f"k-{n}", reversal=unknown)
            request = journal_pb2.PostBatchRequest(items=[item])
            sent = headers(partner(PROGRAM, *SCOPES))
            posted = await asyncio.gather(*(one.batches.PostBatch(request, metadata=sent) for one in (ledger, other)))
            assert [answer.results[0].refusal.reason for answer in posted] == ["TRANSACTION_NOT_FOUND"] * 2
            assert sorted(answer.results[0].replayed for answer in posted) == [False, True]


async def test_a_late_retry_gets_its_first_answer_whatever_has_changed(ledger: Ledger) -> None:  # G58
    await ledger.program(transfer_max_points=100, adjust_alone_max_points=100)
    await ledger.member("m_2")
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    credit = points_pb2.CreateCreditRequest(member_id="m_1", points=50, expires_at=until)
    first = await ledger.call("CreateCredit", credit, "k-1")
    requests = [
        movements_pb2.CreateHoldRequest(member_id="m_1", points=5, expires_at=until),
        movements_pb2.CreateTransferRequest(from_member_id="m_1", to_member_id="m_2", points=5),
        adjustments_pb2.CreateAdjustmentRequest(member_id="m_1", points=5, reason_code="X", expires_at=until),
    ]
    answers = [await ledger.move(request, key="k-1") for request in requests]
    await ledger.program(clock_offset_s=7_200)
    assert await ledger.call("CreateCredit", credit, "k-1") == first
    assert [await ledger.move(request, key="k-1") for request in requests] == answers
    refused = ["INVALID_REQUEST", "PERMISSION_DENIED", "INVALID_REQUEST"]
    assert [await ledger.cannot_move(request, key="k-2") for request in requests] == refused
    item = journal_pb2.PostBatchItem(idempotency_key="k-1", credit=credit)
    fresh = journal_pb2.PostBatchItem(idempotency_key="k-3", credit=credit)
    sent = headers(partner(PROGRAM, *SCOPES))
    batch = await ledger.batches.PostBatch(journal_pb2.PostBatchRequest(items=[item, fresh]), metadata=sent)
    assert (batch.results[0].replayed, batch.results[0].credit) == (True, first)
    assert batch.results[1].refusal.reason == "INVALID_REQUEST"


async def test_a_clawback_never_gives_points(ledger: Ledger) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    earned = await ledger.credit("m_1", 89, expires_at=until)
    await ledger.credit("m_1", 60)
    held = await ledger.move(movements_pb2.CreateHoldRequest(member_id="m_1", points=61))
    # 28 of its own lot, where the hold has frozen the rest, and 29 of the other; then the rest lapses.
    await ledger.move(movements_pb2.ReverseTransactionRequest(transaction_id=earned.transaction_id, amount=57))
    await ledger.move(movements_pb2.VoidPointsHoldRequest(hold_id=held.hold_id))
    await ledger.program(clock_offset_s=7_200)
    taken = await ledger.move(movements_pb2.ReverseTransactionRequest(transaction_id=earned.transaction_id))
    assert (taken.points_reversed, taken.balance) == (0, 31)
    assert not faults(await findings(ledger.database_url))


async def test_a_sagas_hold_is_not_a_partners_to_end(ledger: Ledger) -> None:
    await ledger.credit("m_1", 50)
    place = journal_pb2.PlaceHoldRequest(program_id=PROGRAM, amount=50)
    place.account.member_id = "m_1"
    held = await ledger.journal.PlaceHold(place, metadata=(("idempotency-key", "k-1"),))
    for request in (
        movements_pb2.CapturePointsHoldRequest(hold_id=held.hold_id),
        movements_pb2.VoidPointsHoldRequest(hold_id=held.hold_id),
    ):
        assert await ledger.cannot_move(request) == "TRANSACTION_NOT_FOUND"
    capture = journal_pb2.CaptureHoldRequest(program_id=PROGRAM, hold_id=held.hold_id)
    assert (await ledger.journal.CaptureHold(capture, metadata=(("idempotency-key", "k-1"),))).balance == 0
