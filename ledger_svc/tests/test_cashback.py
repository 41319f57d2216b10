"""Cashback, as fulfillment_svc pays it and asks for it."""

import asyncio
from typing import Any

import grpc
import pytest
from rewards.ledger.v1 import cashback_pb2 as pb
from rewards.ledger.v1 import points_pb2

from ledger_svc.tests.conftest import PROGRAM, Ledger
from svckit.clients import _refusal
from svckit.errors import Reason


def request(**changes: Any) -> pb.PayCashbackRequest:
    wanted: dict[str, Any] = {"program_id": PROGRAM, "member_id": "m_1", "currency": "EUR", "amount_minor": 1_250}
    return pb.PayCashbackRequest(**(wanted | changes))


async def pay(ledger: Ledger, key: str, **changes: Any) -> pb.PayCashbackResponse:
    answer: pb.PayCashbackResponse = await ledger.cashback.PayCashback(
        request(**changes), metadata=(("idempotency-key", key),), timeout=10
    )
    return answer


async def refused(ledger: Ledger, key: str, **changes: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await pay(ledger, key, **changes)
    return Reason.Name(_refusal(caught.value).reason)


async def asked(ledger: Ledger, key: str) -> pb.GetCashbackResponse:
    looked: pb.GetCashbackResponse = await ledger.cashback.GetCashback(
        pb.GetCashbackRequest(program_id=PROGRAM, idempotency_key=key), timeout=10
    )
    return looked


async def euros(ledger: Ledger) -> int:
    answer = await ledger.call("GetBalance", points_pb2.GetBalanceRequest(member_id="m_1", asset="EUR"))
    return int(answer.balance)


async def test_cashback_is_paid_once_a_key_and_does_not_run_out(ledger: Ledger) -> None:
    await ledger.program(more_assets=["EUR"], expiry="DAYS", expiry_count=1)
    assert await asked(ledger, "k") == pb.GetCashbackResponse()
    answers = await asyncio.gather(*(pay(ledger, "k") for _ in range(5)))
    assert len({answer.transaction_id for answer in answers}) == 1
    assert (await asked(ledger, "k")).paid == answers[0]
    assert await refused(ledger, "k", amount_minor=1_251) == "IDEMPOTENCY_KEY_REUSED"
    await ledger.program(clock_offset_s=90 * 86_400, more_assets=["EUR"], expiry="DAYS", expiry_count=1)
    assert await euros(ledger) == 1_250
    assert (await ledger.balance("m_1")).balance == 0, "it is no point"


async def test_a_refusal_that_binds_is_told_and_one_that_does_not_leaves_no_trace(ledger: Ledger) -> None:
    assert await refused(ledger, "k") == "INVALID_REQUEST", "the program has no euros"
    await ledger.program(more_assets=["EUR"])
    assert await refused(ledger, "k", member_id="m_none") == "MEMBER_NOT_FOUND"
    assert await asked(ledger, "k") == pb.GetCashbackResponse()
    await ledger.member("m_1", active=False, version=2)
    assert await refused(ledger, "k") == "MEMBER_NOT_ACTIVE"
    assert (await asked(ledger, "k")).refusal.reason == "MEMBER_NOT_ACTIVE"
    await ledger.member("m_1", version=3)
    assert await refused(ledger, "k") == "MEMBER_NOT_ACTIVE", "for good"
    assert await euros(ledger) == 0
