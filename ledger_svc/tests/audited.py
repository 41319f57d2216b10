"""A ledger in which something of every kind has happened, for the auditor to look at."""

from typing import Any

from rewards.ledger.v1 import adjustments_pb2, batches_pb2, funding_pb2, journal_pb2, movements_pb2, points_pb2

from ledger_svc.tests.conftest import PROGRAM, SCOPES, Ledger
from svckit.clock import new_id
from svckit.testing import headers, partner

A_LIFETIME_S = 80 * 365 * 86_400


async def call(made: Ledger, rpc: str, **fields: Any) -> Any:
    return await made.call(rpc, getattr(points_pb2, f"{rpc}Request")(**fields))


async def hold(made: Ledger, rpc: str, **fields: Any) -> Any:
    request = getattr(journal_pb2, f"{rpc}Request")(program_id=PROGRAM, **fields)
    return await getattr(made.journal, rpc)(request, metadata=(("idempotency-key", str(new_id())),))


async def history(made: Ledger) -> None:
    """Something of every kind: lots that run out, reversals, a debt, a transfer, adjustments, holds in every state,
    funding, an event without points, a batch."""
    policy: dict[str, Any] = {"transfer_max_points": 100, "adjust_alone_max_points": 10}
    await made.program(**policy)
    for member_id in ("m_1", "m_2"):
        await made.member(member_id)
        for points, expires_at in ((200, "2098-12-31"), (300, "2097-06-30"), (900, "")):
            await call(made, "CreateCredit", member_id=member_id, points=points, expires_at=expires_at)
        taken = await call(made, "RedeemPoints", member_id=member_id, points=400)
        for points in (150, 50):
            await call(made, "ReversalPoints", transaction_id=taken.transaction_id, points=points)
    await call(made, "InsertTransactionData", member_id="m_1", type="login")
    events = [
        batches_pb2.BatchTransaction(member_id=member_id, type="login", idempotency_key=key)
        for key, member_id in (("item-1", "m_1"), ("item-2", "nobody"))
    ]
    batch = batches_pb2.InsertTransactionBatchRequest(transactions=events)
    await made.bulk.InsertTransactionBatch(batch, metadata=headers(partner(PROGRAM, *SCOPES), "batch"))
    account = journal_pb2.AccountRef(member_id="m_1")
    holds = [await hold(made, "PlaceHold", account=account, amount=amount) for amount in (350, 60, 70)]
    await hold(made, "CaptureHold", hold_id=holds[0].hold_id, amount=250)
    await hold(made, "VoidHold", hold_id=holds[1].hold_id)
    deposit = funding_pb2.CreateDepositRequest(amount=100)
    await made.funding.CreateDeposit(deposit, metadata=headers(partner(PROGRAM, *SCOPES), "deposit"))
    alarm = funding_pb2.PutLowBalanceRequest(threshold=75)
    await made.funding.PutLowBalance(alarm, metadata=headers(partner(PROGRAM, *SCOPES)))
    funded = await hold(made, "PlaceHold", account=journal_pb2.AccountRef(funding_currency="USD"), amount=5_000)
    await hold(made, "CaptureHold", hold_id=funded.hold_id, fee=300)
    await _corrected(made)
    await made.program(A_LIFETIME_S, **policy)
    await call(made, "RedeemPoints", member_id="m_2", points=5)


async def _corrected(made: Ledger) -> None:
    """A member who owes what was taken back after it was spent, a transfer, and adjustments alone and by two."""
    await made.member("m_3")
    earned = await call(made, "CreateCredit", member_id="m_3", points=40)
    await call(made, "RedeemPoints", member_id="m_3", points=30)
    await made.move(movements_pb2.ReverseTransactionRequest(transaction_id=earned.transaction_id))
    await made.move(movements_pb2.CreateTransferRequest(from_member_id="m_1", to_member_id="m_3", points=100))
    for points in (10, -7):
        await made.move(adjustments_pb2.CreateAdjustmentRequest(member_id="m_3", points=points, reason_code="X"))
    asked = [
        await made.move(adjustments_pb2.CreateAdjustmentRequest(member_id="m_3", points=points, reason_code="Y"))
        for points in (11, 12)
    ]
    approval = adjustments_pb2.ApproveAdjustmentRequest(adjustment_id=asked[0].adjustment.adjustment_id)
    await made.move(approval, by="cred_b")
