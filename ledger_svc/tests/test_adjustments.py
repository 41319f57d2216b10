"""Adjustments: who, why, and a second credential over the limit (G19). And the look-up by key."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from rewards.ledger.v1 import adjustments_pb2 as pb
from rewards.ledger.v1 import movements_pb2, outcomes_pb2, points_pb2

from ledger_svc.tests.conftest import PROGRAM, SCOPES, Ledger
from ledger_svc.verify.report import faults, findings
from svckit.clients import _refusal
from svckit.errors import Reason
from svckit.testing import headers, partner

PENDING, POSTED, REJECTED = pb.Adjustment.PENDING, pb.Adjustment.POSTED, pb.Adjustment.REJECTED


def of(points: int, **more: Any) -> pb.CreateAdjustmentRequest:
    return pb.CreateAdjustmentRequest(member_id="m_1", points=points, reason_code="GOODWILL", **more)


def approval(asked: Any) -> pb.ApproveAdjustmentRequest:
    return pb.ApproveAdjustmentRequest(adjustment_id=asked.adjustment.adjustment_id)


async def test_within_the_limit_one_credential_is_enough(ledger: Ledger) -> None:
    await ledger.program(adjust_alone_max_points=100)
    up = await ledger.move(of(100, ticket="T-1", note="Parcel was late"))
    assert (up.adjustment.status, up.balance) == (POSTED, 100)
    down = await ledger.move(of(-30))
    assert (down.adjustment.points, down.balance) == (-30, 70)
    read = await ledger.move(pb.GetAdjustmentRequest(adjustment_id=up.adjustment.adjustment_id))
    assert read.adjustment == up.adjustment
    assert (read.adjustment.created_by, read.adjustment.decided_by, read.adjustment.ticket) == ("cred_a", "", "T-1")
    history = await ledger.call("GetTransactionHistory", points_pb2.GetTransactionHistoryRequest(member_id="m_1"))
    assert [t.transaction_id for t in history.transactions][-1] == up.adjustment.adjustment_id
    assert not faults(await findings(ledger.database_url))


async def test_over_the_limit_a_second_credential_approves(ledger: Ledger) -> None:
    await ledger.program(adjust_alone_max_points=100)
    asked = await ledger.move(of(101))
    assert (asked.adjustment.status, asked.HasField("balance")) == (PENDING, False)
    assert (await ledger.balance("m_1")).balance == 0
    assert await ledger.cannot_move(approval(asked), by="cred_a") == "PERMISSION_DENIED"
    done = await ledger.move(approval(asked), by="cred_b")
    assert (done.adjustment.status, done.adjustment.decided_by, done.balance) == (POSTED, "cred_b", 101)
    assert await ledger.cannot_move(approval(asked), by="cred_c") == "CONFLICT"
    assert (await ledger.balance("m_1")).balance == 101
    assert not faults(await findings(ledger.database_url))


async def test_by_default_every_adjustment_needs_a_second_credential(ledger: Ledger) -> None:
    assert (await ledger.move(of(1))).adjustment.status == PENDING


async def test_a_pending_one_can_be_rejected_and_is_then_ended(ledger: Ledger) -> None:
    asked = await ledger.move(of(5))
    rejection = pb.RejectAdjustmentRequest(adjustment_id=asked.adjustment.adjustment_id)
    assert (await ledger.move(rejection)).adjustment.status == REJECTED
    assert await ledger.cannot_move(approval(asked), by="cred_b") == "CONFLICT"
    assert (await ledger.balance("m_1")).balance == 0


async def test_one_that_cannot_be_posted_leaves_no_trace_and_stays_pending(ledger: Ledger) -> None:
    await ledger.program(adjust_alone_max_points=10)
    assert await ledger.cannot_move(of(-5)) == "INSUFFICIENT_POINTS"
    assert not (await ledger.move(pb.ListAdjustmentsRequest())).adjustments
    asked = await ledger.move(of(-50))
    assert await ledger.cannot_move(approval(asked), by="cred_b") == "INSUFFICIENT_POINTS"
    await ledger.credit("m_1", 50)
    assert (await ledger.move(approval(asked), by="cred_b")).balance == 0


async def test_twenty_approvals_at_once_post_it_once(ledger: Ledger) -> None:
    asked = await ledger.move(of(7))
    answers = await asyncio.gather(
        *(ledger.move(approval(asked), by=f"cred_{n}") for n in range(20)), return_exceptions=True
    )
    refusals = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert {_refusal(refusal).reason for refusal in refusals} == {Reason.CONFLICT}
    assert len(refusals) == 19
    assert (await ledger.balance("m_1")).balance == 7


async def test_the_same_key_twice_at_once_adjusts_once(ledger: Ledger) -> None:
    await ledger.program(adjust_alone_max_points=100)
    answers = await asyncio.gather(*(ledger.move(of(7), key="k-1") for _ in range(10)))
    assert len({answer.SerializeToString() for answer in answers}) == 1
    assert (await ledger.balance("m_1")).balance == 7
    assert await ledger.cannot_move(of(8), key="k-1") == "IDEMPOTENCY_KEY_REUSED"


async def test_bad_requests_are_named_and_change_nothing(ledger: Ledger) -> None:
    to_come = Timestamp()
    to_come.FromDatetime(datetime.now(UTC) + timedelta(days=1))
    for bad in (
        of(0),
        of(2**53 + 1),
        of(-5, expires_at="2099-01-01"),
        of(5, effective_at=to_come),
        of(5, asset="NOPE"),
        pb.CreateAdjustmentRequest(member_id="m_1", points=5, reason_code="good will"),
    ):
        assert await ledger.cannot_move(bad) == "INVALID_REQUEST"
    nobody = pb.CreateAdjustmentRequest(member_id="m_none", points=5, reason_code="X")
    assert await ledger.cannot_move(nobody) == "MEMBER_NOT_FOUND"
    assert not (await ledger.move(pb.ListAdjustmentsRequest())).adjustments


async def test_the_list_is_paged_newest_first_and_filtered(ledger: Ledger) -> None:
    made = [(await ledger.move(of(n))).adjustment for n in range(1, 6)]
    await ledger.move(pb.RejectAdjustmentRequest(adjustment_id=made[0].adjustment_id))
    request = pb.ListAdjustmentsRequest(status=PENDING, member_id="m_1", page_size=3)
    first = await ledger.move(request)
    request.page_token = first.next_page_token
    second = await ledger.move(request)
    assert [a.points for a in (*first.adjustments, *second.adjustments)] == [5, 4, 3, 2]
    assert not second.next_page_token


async def test_an_outcome_is_found_by_its_key(ledger: Ledger) -> None:
    async def outcome(operation: str, key: str, program: str = PROGRAM) -> Any:
        request = outcomes_pb2.GetOutcomeRequest(operation=operation, idempotency_key=key)
        return await ledger.outcomes.GetOutcome(request, metadata=headers(partner(program, *SCOPES)))

    seen = outcomes_pb2.GetOutcomeResponse
    credited = await ledger.call("CreateCredit", points_pb2.CreateCreditRequest(member_id="m_1", points=5), "a/b?c")
    done = await outcome("CreateCredit", "a/b?c")
    assert (done.status, done.credit) == (seen.DONE, credited)
    redeem = points_pb2.RedeemPointsRequest(member_id="m_1", points=6)
    assert await ledger.refused("RedeemPoints", redeem, "r-1") == "INSUFFICIENT_POINTS"
    refusal = await outcome("RedeemPoints", "r-1")
    assert (refusal.status, refusal.refusal.error_code, refusal.refusal.reason) == (
        seen.REFUSED, Reason.INSUFFICIENT_POINTS, "INSUFFICIENT_POINTS",
    )  # fmt: skip
    assert (await outcome("RedeemPoints", "a/b?c")).status == seen.NOT_SEEN
    await ledger.program(adjust_alone_max_points=100)
    adjusted = await ledger.move(of(7), key="adj")
    assert (await outcome("CreateAdjustment", "adj")).adjustment == adjusted
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await outcome("GetBalance", "r-1")
    assert _refusal(caught.value).reason == Reason.INVALID_REQUEST


async def test_an_answer_counts_nothing_that_has_run_out_meanwhile(ledger: Ledger) -> None:  # G3, G5
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await ledger.credit("m_1", 50, expires_at=until)
    held = await ledger.move(movements_pb2.CreateHoldRequest(member_id="m_1", points=40))
    asked = await ledger.move(of(60, expires_at=until))
    await ledger.program(clock_offset_s=7_200)
    assert (await ledger.move(movements_pb2.CapturePointsHoldRequest(hold_id=held.hold_id, points=10))).balance == 0
    assert (await ledger.move(approval(asked), by="cred_b")).balance == 0
    assert (await ledger.balance("m_1")).balance == 0
    assert not faults(await findings(ledger.database_url))
