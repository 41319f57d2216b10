"""Refusals about points: what a member may earn and redeem, and what can be taken back."""

from devmesh.demo.partner import Answer
from svckit.clock import new_id
from tests.mesh.refusals.stage import Cases, Stage

CASES = Cases()
MOST = 2**53


@CASES.provokes("MEMBER_NOT_ACTIVE", "InsertTransactionData", "RedeemPoints")
async def suspended(stage: Stage, operation: str) -> Answer:
    member_id = await stage.api.member(points=10)
    await stage.must("UpdateProfile", {"memberId": member_id, "status": "SUSPENDED"})
    what = {"type": "purchase", "amount": 1} if operation == "InsertTransactionData" else {"points": 1}
    return await stage.api.post(operation, {"memberId": member_id, **what})


@CASES.provokes("CONFLICT", "InsertTransactionData")
async def event_known(stage: Stage, operation: str) -> Answer:
    event = {"memberId": await stage.api.member(), "type": "purchase", "amount": 1, "eventId": str(new_id())}
    await stage.must(operation, event)
    return await stage.api.post(operation, event)


@CASES.provokes("AMOUNT_OUT_OF_RANGE", "InsertTransactionData")
async def earns_too_much(stage: Stage, operation: str) -> Answer:
    event = {"memberId": await stage.api.member(points=MOST), "type": "purchase", "amount": 1}
    return await stage.api.post(operation, event)


@CASES.provokes("INSUFFICIENT_POINTS", "RedeemPoints")
async def has_too_few(stage: Stage, operation: str) -> Answer:
    answer = await stage.api.post(operation, {"memberId": await stage.api.member(points=10), "points": 11})
    assert answer.result["details"] == {"available": 10, "requested": 11}
    return answer


@CASES.provokes("AMOUNT_MISMATCH", "RedeemPoints")
async def worth_something_else(stage: Stage, operation: str) -> Answer:
    member_id = await stage.api.member(points=1_000)
    return await stage.api.post(operation, {"memberId": member_id, "points": 1_000, "amount": 12.51})


@CASES.provokes("DUPLICATE_REVERSAL", "ReverseTransaction", "ReversalPoints")
async def reversed_already(stage: Stage, operation: str) -> Answer:
    body = {"transactionId": await _reversible(stage, operation)}
    await stage.must(operation, body)
    return await stage.api.post(operation, body)


@CASES.provokes("REVERSAL_EXCEEDS", "ReverseTransaction", "ReversalPoints")
async def reverses_more(stage: Stage, operation: str) -> Answer:
    part = "amount" if operation == "ReverseTransaction" else "points"
    return await stage.api.post(operation, {"transactionId": await _reversible(stage, operation), part: 11})


@CASES.provokes("WRONG_TRANSACTION_KIND", "ReverseTransaction", "ReversalPoints")
async def reverses_the_other_kind(stage: Stage, operation: str) -> Answer:
    other = "ReversalPoints" if operation == "ReverseTransaction" else "ReverseTransaction"
    return await stage.api.post(operation, {"transactionId": await _reversible(stage, other)})


@CASES.provokes("AMOUNT_OUT_OF_RANGE", "ReversalPoints")
async def gives_back_too_much(stage: Stage, operation: str) -> Answer:
    member_id = await stage.api.member(points=1)
    redeemed = await stage.must("RedeemPoints", {"memberId": member_id, "points": 1})
    await stage.must("credits", {"memberId": member_id, "points": MOST})
    return await stage.api.post(operation, {"transactionId": redeemed["transactionId"]})


@CASES.provokes("AMOUNT_OUT_OF_RANGE", "ReverseTransaction")
async def owes_too_much(stage: Stage, operation: str) -> Answer:
    member_id = await stage.api.member()
    earned = []
    for _ in range(2):
        earned.append(await stage.must("credits", {"memberId": member_id, "points": MOST}))
        await stage.must("RedeemPoints", {"memberId": member_id, "points": MOST})
    await stage.must(operation, {"transactionId": earned[0]["transactionId"]})
    return await stage.api.post(operation, {"transactionId": earned[1]["transactionId"]})


async def _reversible(stage: Stage, operation: str) -> str:
    """A transaction of ten points that the operation could take back."""
    member_id = await stage.api.member()
    done = await stage.must("credits", {"memberId": member_id, "points": 10})
    if operation == "ReversalPoints":
        done = await stage.must("RedeemPoints", {"memberId": member_id, "points": 10})
    return str(done["transactionId"])
