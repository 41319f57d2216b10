"""The ledger through the real server, interceptors and PostgreSQL."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from rewards.ledger.v1 import (
    journal_pb2,
    points_pb2,
    points_pb2_grpc,
)

from ledger_svc.journal.values import MAX_AMOUNT
from ledger_svc.tests.conftest import PROGRAM, SCOPES, Ledger
from svckit.call import Kind, Principal
from svckit.clients import _refusal, open_channel
from svckit.clock import new_id
from svckit.errors import Reason
from svckit.testing import headers, partner


def redeem(points: int, **more: Any) -> points_pb2.RedeemPointsRequest:
    return points_pb2.RedeemPointsRequest(member_id="m_1", points=points, **more)


async def test_a_purchase_earns_one_point_per_unit_floored(ledger: Ledger) -> None:
    request = points_pb2.InsertTransactionDataRequest(
        member_id="m_1", type="purchase", event_id="e-1", amount=12.99, currency="USD"
    )
    answer = await ledger.call("InsertTransactionData", request)
    assert (answer.points_awarded, answer.balance) == (12, 12)
    assert [award.rule_id for award in answer.awards] == ["base"]
    assert await ledger.refused("InsertTransactionData", request) == "CONFLICT"
    assert (await ledger.balance("m_1")).balance == 12


async def test_no_matching_rule_is_success_with_zero(ledger: Ledger) -> None:  # G43
    request = points_pb2.InsertTransactionDataRequest(member_id="m_1", type="login")
    answer = await ledger.call("InsertTransactionData", request)
    assert answer.points_awarded == 0
    assert answer.transaction_id


async def test_redeem_replays_byte_for_byte_and_marks_it(ledger: Ledger) -> None:
    await ledger.credit("m_1", 1_000)
    first = await ledger.call("RedeemPoints", redeem(400, amount=5.0), "key-1")
    call = ledger.points.RedeemPoints(
        redeem(400, amount=5.0), metadata=headers(partner(PROGRAM, *SCOPES), "key-1"), timeout=5
    )
    assert await call == first
    assert dict(await call.initial_metadata())["idempotency-replayed"] == "true"
    assert await ledger.refused("RedeemPoints", redeem(401), "key-1") == "IDEMPOTENCY_KEY_REUSED"
    assert (await ledger.balance("m_1")).balance == 600


async def test_a_binding_refusal_is_the_same_for_ever(ledger: Ledger) -> None:  # G58
    assert await ledger.refused("RedeemPoints", redeem(10), "key-2") == "INSUFFICIENT_POINTS"
    await ledger.credit("m_1", 100)
    assert await ledger.refused("RedeemPoints", redeem(10), "key-2") == "INSUFFICIENT_POINTS"
    assert (await ledger.balance("m_1")).balance == 100


async def test_amount_must_agree_with_the_rate(ledger: Ledger) -> None:  # G26
    await ledger.credit("m_1", 1_000)
    assert await ledger.refused("RedeemPoints", redeem(1_000, amount=12.51)) == "AMOUNT_MISMATCH"
    assert await ledger.refused("RedeemPoints", redeem(1_000, amount=12.505)) == "INVALID_REQUEST"
    answer = await ledger.call("RedeemPoints", redeem(1_000, amount=12.5))
    assert answer.balance == 0


async def test_fifty_spends_of_one_balance_have_one_winner(ledger: Ledger) -> None:  # G14
    await ledger.credit("m_1", 100)
    results = await asyncio.gather(
        *(ledger.call("RedeemPoints", redeem(100)) for _ in range(50)), return_exceptions=True
    )
    reasons = [Reason.Name(_refusal(r).reason) for r in results if isinstance(r, grpc.aio.AioRpcError)]
    assert reasons == ["INSUFFICIENT_POINTS"] * 49
    assert (await ledger.balance("m_1")).balance == 0


async def test_fifty_copies_of_one_key_debit_once(ledger: Ledger) -> None:
    await ledger.credit("m_1", 1_000)
    answers = await asyncio.gather(*(ledger.call("RedeemPoints", redeem(100), "same") for _ in range(50)))
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert (await ledger.balance("m_1")).balance == 900


async def test_one_key_for_two_requests_at_once_has_one_effect(ledger: Ledger) -> None:  # D2
    await ledger.member("m_2")
    for member_id in ("m_1", "m_2"):
        await ledger.credit(member_id, 100)
    requests = [points_pb2.RedeemPointsRequest(member_id=f"m_{1 + number % 2}", points=100) for number in range(20)]
    results = await asyncio.gather(
        *(ledger.call("RedeemPoints", request, "raced") for request in requests), return_exceptions=True
    )
    reasons = {Reason.Name(_refusal(r).reason) for r in results if isinstance(r, grpc.aio.AioRpcError)}
    assert reasons == {"IDEMPOTENCY_KEY_REUSED"}
    assert sorted([(await ledger.balance(member_id)).balance for member_id in ("m_1", "m_2")]) == [0, 100]


async def test_reversal_once_partially_and_never_more(ledger: Ledger) -> None:  # G9, G10
    await ledger.credit("m_1", 300, expires_at="2099-12-31")
    await ledger.credit("m_1", 300)
    taken = await ledger.call("RedeemPoints", redeem(500))

    def reversal(points: int | None = None) -> points_pb2.ReversalPointsRequest:
        return points_pb2.ReversalPointsRequest(transaction_id=taken.transaction_id, points=points)

    part = await ledger.call("ReversalPoints", reversal(250), "r-1")
    assert (part.restored, part.expired, part.balance) == (250, 0, 350)
    assert await ledger.refused("ReversalPoints", reversal(251)) == "REVERSAL_EXCEEDS"
    both = await asyncio.gather(*(ledger.call("ReversalPoints", reversal()) for _ in range(2)), return_exceptions=True)
    refusals = [r for r in both if isinstance(r, grpc.aio.AioRpcError)]
    assert [Reason.Name(_refusal(r).reason) for r in refusals] == ["DUPLICATE_REVERSAL"]
    assert (await ledger.balance("m_1")).balance == 600
    assert await ledger.call("ReversalPoints", reversal(250), "r-1") == part
    unknown = points_pb2.ReversalPointsRequest(transaction_id=str(new_id()))
    assert await ledger.refused("ReversalPoints", unknown) == "TRANSACTION_NOT_FOUND"
    again = await ledger.call("RedeemPoints", redeem(600))
    assert again.balance == 0


async def test_holds_count_and_end_once(ledger: Ledger) -> None:  # G6, G7
    await ledger.credit("m_1", 500)
    place = journal_pb2.PlaceHoldRequest(
        program_id=PROGRAM, account=journal_pb2.AccountRef(member_id="m_1"), amount=400
    )
    hold = await ledger.journal.PlaceHold(place, metadata=(("idempotency-key", "h"),))
    assert await ledger.journal.PlaceHold(place, metadata=(("idempotency-key", "h"),)) == hold
    state = await ledger.balance("m_1")
    assert (state.balance, state.available, state.held) == (500, 100, 400)
    assert await ledger.refused("RedeemPoints", redeem(101)) == "INSUFFICIENT_POINTS"
    capture = journal_pb2.CaptureHoldRequest(program_id=PROGRAM, hold_id=hold.hold_id, amount=300)
    void = journal_pb2.VoidHoldRequest(program_id=PROGRAM, hold_id=hold.hold_id)
    ends = await asyncio.gather(
        ledger.journal.CaptureHold(capture, metadata=(("idempotency-key", "c"),)),
        ledger.journal.VoidHold(void, metadata=(("idempotency-key", "v"),)),
        return_exceptions=True,
    )
    refusals = [r for r in ends if isinstance(r, grpc.aio.AioRpcError)]
    assert [Reason.Name(_refusal(r).reason) for r in refusals] == ["HOLD_NOT_ACTIVE"]
    state = await ledger.balance("m_1")
    captured = not isinstance(ends[0], BaseException)
    assert (state.balance, state.available, state.held) == ((200, 200, 0) if captured else (500, 500, 0))


async def test_what_a_capture_leaves_is_held_on(ledger: Ledger) -> None:  # G7, G75
    await ledger.credit("m_1", 500)
    place = journal_pb2.PlaceHoldRequest(
        program_id=PROGRAM, account=journal_pb2.AccountRef(member_id="m_1"), amount=400
    )
    first = (await ledger.journal.PlaceHold(place, metadata=(("idempotency-key", "h"),))).hold_id
    part = journal_pb2.CaptureHoldRequest(program_id=PROGRAM, hold_id=first, amount=150, keep_rest=True)
    captures = [ledger.journal.CaptureHold(part, metadata=(("idempotency-key", "c"),)) for _ in range(5)]
    (rest,) = {answer.rest_hold_id for answer in await asyncio.gather(*captures)}
    state = await ledger.balance("m_1")
    assert (state.balance, state.available, state.held) == (350, 100, 250)
    part.hold_id = rest
    part.amount = 250
    last = await ledger.journal.CaptureHold(part, metadata=(("idempotency-key", "d"),))
    assert (last.transaction_id, last.rest_hold_id) == (rest, "")
    state = await ledger.balance("m_1")
    assert (state.balance, state.available, state.held) == (100, 100, 0)


async def test_members_that_are_unknown_foreign_or_not_active(ledger: Ledger) -> None:
    await ledger.member("m_2", active=False)
    request = points_pb2.RedeemPointsRequest(member_id="m_2", points=1)
    assert await ledger.refused("RedeemPoints", request) == "MEMBER_NOT_ACTIVE"
    request = points_pb2.RedeemPointsRequest(member_id="nobody", points=1)
    assert await ledger.refused("RedeemPoints", request) == "MEMBER_NOT_FOUND"
    assert await ledger.refused("GetBalance", points_pb2.GetBalanceRequest(member_id="m_1"), program="x") == "NOT_FOUND"


async def test_history_pages_newest_first(ledger: Ledger) -> None:  # G63
    for points in (1, 2, 3):
        await ledger.credit("m_1", points)
    request = points_pb2.GetTransactionHistoryRequest(member_id="m_1", page_size=2)
    first = await ledger.call("GetTransactionHistory", request)
    assert [t.points for t in first.transactions] == [3, 2]
    request.page_token = first.next_page_token
    second = await ledger.call("GetTransactionHistory", request)
    assert ([(t.points, t.balance_after) for t in second.transactions], second.next_page_token) == ([(1, 1)], "")
    request.kinds.append(points_pb2.Transaction.EARN)
    assert await ledger.refused("GetTransactionHistory", request) == "INVALID_REQUEST"


async def test_did_it_happen(ledger: Ledger) -> None:
    done = points_pb2.GetRedemptionResponse
    by_key = points_pb2.GetRedemptionRequest(idempotency_key="asked")
    assert (await ledger.call("GetRedemption", by_key)).status == done.NOT_SEEN
    await ledger.refused("RedeemPoints", redeem(5), "asked")
    answer = await ledger.call("GetRedemption", by_key)
    assert (answer.status, answer.refusal.error_code) == (done.REFUSED, 4001)
    await ledger.credit("m_1", 5)
    taken = await ledger.call("RedeemPoints", redeem(5), "asked-again")
    by_id = points_pb2.GetRedemptionRequest(transaction_id=taken.transaction_id)
    answer = await ledger.call("GetRedemption", by_id)
    assert (answer.status, answer.redemption.member_id, answer.redemption.points_redeemed) == (done.DONE, "m_1", 5)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (points_pb2.RedeemPointsRequest(member_id="m_1"), "points"),
        (points_pb2.RedeemPointsRequest(member_id="m_1", points=-1), "points"),
        (points_pb2.RedeemPointsRequest(member_id="m_1", points=2**60), "points"),
        (points_pb2.RedeemPointsRequest(points=1), "memberId"),
        (points_pb2.RedeemPointsRequest(member_id="m_1", points=1, reason="a\0b"), "reason"),
    ],
)
async def test_bad_input_names_the_field(ledger: Ledger, request_: Message, field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ledger.call("RedeemPoints", request_)
    refusal = _refusal(caught.value)
    assert refusal.reason == Reason.INVALID_REQUEST
    assert [v.field for v in refusal.detail.field_violations] == [field]  # type: ignore[union-attr]


async def test_value_calls_need_a_key_and_a_scope(ledger: Ledger) -> None:
    for principal, key, reason in (
        (partner(PROGRAM, *SCOPES), None, "IDEMPOTENCY_KEY_MISSING"),
        (partner(PROGRAM, "points:read"), "k", "PERMISSION_DENIED"),
        (Principal(Kind.PUBLIC), "k", "UNAUTHENTICATED"),
        (Principal(Kind.MEMBER, "t", PROGRAM, member_id="m_1"), "k", "PERMISSION_DENIED"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ledger.points.RedeemPoints(redeem(1), metadata=headers(principal, key), timeout=5)
        assert Reason.Name(_refusal(caught.value).reason) == reason


async def test_principal_headers_of_a_service_are_not_believed(ledger: Ledger, authority: Any) -> None:
    async with open_channel(ledger.url, "ledger_svc", authority.issue("catalog_svc")) as channel:
        stub = points_pb2_grpc.PointsServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.RedeemPoints(redeem(1), metadata=headers(partner(PROGRAM, *SCOPES), "k"), timeout=5)
    assert _refusal(caught.value).reason == Reason.PERMISSION_DENIED


async def test_no_reversal_lifts_a_balance_over_the_range(ledger: Ledger) -> None:  # 4006
    await ledger.credit("m_1", MAX_AMOUNT)
    spent = await ledger.call("RedeemPoints", points_pb2.RedeemPointsRequest(member_id="m_1", points=10))
    await ledger.credit("m_1", 10)
    request = points_pb2.ReversalPointsRequest(transaction_id=spent.transaction_id)
    assert await ledger.refused("ReversalPoints", request) == "AMOUNT_OUT_OF_RANGE"
    assert (await ledger.balance("m_1")).balance == MAX_AMOUNT
