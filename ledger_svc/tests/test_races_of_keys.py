"""One key in two processes at once: one effect and one answer, whatever is asked and whoever is first (D1, D2)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NamedTuple

import pytest
from rewards.ledger.v1 import batches_pb2, journal_pb2, points_pb2

from ledger_svc.tests.instances import KEYS_HELD, Twins, ask, holding, waiting
from ledger_svc.verify.report import faults, findings

MADE: Final = """
SELECT (SELECT count(*) FROM entries), (SELECT count(*) FROM holds), (SELECT count(*) FROM adjustments),
    (SELECT count(*) FROM transaction_batches)"""


@pytest.fixture(autouse=True)
async def sound(twins: Twins) -> AsyncIterator[None]:
    await twins.one.call("CreateCredit", member_id="m_1", points=1_000)
    await twins.one.call("CreateCredit", member_id="m_2", points=1_000)
    yield
    assert faults(await findings(twins.url)) == []


class Asked(NamedTuple):
    """A call, once the ledger is as it needs it: its name and fields, and what it makes or is refused for."""

    rpc: str
    fields: dict[str, Any]
    entries: int = 0
    holds: int = 0
    adjustments: int = 0
    batches: int = 0
    refusal: str = ""


async def spent(twins: Twins) -> str:
    return str((await twins.one.call("RedeemPoints", member_id="m_1", points=100)).transaction_id)


async def held(twins: Twins) -> str:
    return str((await twins.one.call("CreateHold", member_id="m_1", points=100)).hold_id)


async def earned(twins: Twins) -> str:
    return str((await twins.one.call("CreateCredit", member_id="m_1", points=100)).transaction_id)


async def credit(twins: Twins) -> Asked:
    return Asked("CreateCredit", {"member_id": "m_1", "points": 7}, 1)


async def redeem(twins: Twins) -> Asked:
    return Asked("RedeemPoints", {"member_id": "m_1", "points": 7}, 1)


async def too_much(twins: Twins) -> Asked:
    return Asked("RedeemPoints", {"member_id": "m_1", "points": 1_001}, refusal="INSUFFICIENT_POINTS")


async def mispriced(twins: Twins) -> Asked:
    return Asked("RedeemPoints", {"member_id": "m_1", "points": 80, "amount": 2.0}, refusal="AMOUNT_MISMATCH")


async def event(twins: Twins) -> Asked:
    return Asked("InsertTransactionData", {"member_id": "m_1", "type": "purchase", "amount": 12.5, "event_id": "e"}, 1)


async def reversal(twins: Twins) -> Asked:
    return Asked("ReversalPoints", {"transaction_id": await spent(twins), "points": 60}, 1)


async def claw_back(twins: Twins) -> Asked:
    return Asked("ReverseTransaction", {"transaction_id": await earned(twins)}, 1)


async def transfer(twins: Twins) -> Asked:
    return Asked("CreateTransfer", {"from_member_id": "m_1", "to_member_id": "m_2", "points": 7}, 2)


async def hold(twins: Twins) -> Asked:
    return Asked("CreateHold", {"member_id": "m_1", "points": 7}, holds=1)


async def capture(twins: Twins) -> Asked:
    return Asked("CapturePointsHold", {"hold_id": await held(twins), "points": 60}, 1)


async def void(twins: Twins) -> Asked:
    return Asked("VoidPointsHold", {"hold_id": await held(twins)})


async def deposit(twins: Twins) -> Asked:
    return Asked("CreateDeposit", {"amount": 7.5}, 1)


async def adjustment(twins: Twins) -> Asked:
    return Asked("CreateAdjustment", {"member_id": "m_1", "points": -7, "reason_code": "ERROR"}, 1, adjustments=1)


async def request_of(twins: Twins) -> Asked:
    return Asked("CreateAdjustment", {"member_id": "m_1", "points": 700, "reason_code": "GOODWILL"}, adjustments=1)


async def pending(twins: Twins) -> str:
    asked = await twins.one.call((await request_of(twins)).rpc, **(await request_of(twins)).fields)
    return str(asked.adjustment.adjustment_id)


async def approval(twins: Twins) -> Asked:
    return Asked("ApproveAdjustment", {"adjustment_id": await pending(twins), "by": "cred_b"}, 1)


async def rejection(twins: Twins) -> Asked:
    return Asked("RejectAdjustment", {"adjustment_id": await pending(twins)})


async def batch(twins: Twins) -> Asked:
    sent = [batches_pb2.BatchTransaction(idempotency_key=key, member_id="m_1", type="buy", amount=7) for key in "ab"]
    return Asked("InsertTransactionBatch", {"transactions": sent}, 2, batches=1)


CALLS: Final = (
    credit, redeem, too_much, mispriced, event, reversal, claw_back, transfer, hold, capture, void,
    deposit, adjustment, request_of, approval, rejection, batch,
)  # fmt: skip


@pytest.mark.parametrize("prepared", CALLS)
async def test_one_request_has_one_effect_and_one_answer(
    twins: Twins, prepared: Callable[[Twins], Awaitable[Asked]]
) -> None:
    asked = await prepared(twins)
    [before] = await ask(twins.url, MADE)
    async with asyncio.TaskGroup() as group:
        async with holding(twins.url, KEYS_HELD):
            copies = [
                group.create_task(process.definite(asked.rpc, "one-key", **asked.fields)) for process in twins.each(8)
            ]
            await waiting(twins.url, 2)
    answers = [copy.result() for copy in copies]
    assert all(answer == answers[0] for answer in answers)
    assert (answers[0] if isinstance(answers[0], str) else "") == asked.refusal
    [after] = await ask(twins.url, MADE)
    made = [now - then for now, then in zip(after, before, strict=True)]
    assert made == [asked.entries, asked.holds, asked.adjustments, asked.batches]


async def test_of_two_requests_under_one_key_one_wins_and_the_other_does_nothing(twins: Twins) -> None:
    for number in range(20):
        [at_first, other] = await twins.balances("m_1", "m_2")
        outcomes = await asyncio.gather(
            *(
                process.outcome("RedeemPoints", f"key-{number}", member_id=f"m_{1 + place % 2}", points=1)
                for place, process in enumerate(twins.each(8))
            )
        )
        won = {place % 2 for place, outcome in enumerate(outcomes) if outcome != "IDEMPOTENCY_KEY_REUSED"}
        assert len(won) == 1
        assert len({outcome.transaction_id for outcome in outcomes if not isinstance(outcome, str)}) == 1
        left = [at_first - (0 in won), other - (1 in won)]
        assert await twins.balances("m_1", "m_2") == left


def items(member_id: str, *points: int) -> list[journal_pb2.PostBatchItem]:
    return [
        journal_pb2.PostBatchItem(
            idempotency_key=f"item-{number}", redeem=points_pb2.RedeemPointsRequest(member_id=member_id, points=amount)
        )
        for number, amount in enumerate(points)
    ]


async def test_one_bulk_call_in_two_processes_posts_each_item_once(twins: Twins) -> None:  # G60
    sent = items("m_1", 100, 2_000, 300)
    async with asyncio.TaskGroup() as group:
        async with holding(twins.url, KEYS_HELD):
            calls = [group.create_task(process.definite("PostBatch", "", items=sent)) for process in twins.each(2)]
            await waiting(twins.url, 2)
    one, other = (call.result().results for call in calls)
    assert [result.replayed for result in (*one, *other)].count(True) == 3
    for result in (*one, *other):
        result.replayed = False
    assert list(one) == list(other)
    assert await twins.balances("m_1") == [600]


def purchase(member_id: str, key: str) -> list[journal_pb2.PostBatchItem]:
    event = points_pb2.InsertTransactionDataRequest(member_id=member_id, type="purchase", amount=2.0, event_id="e")
    return [journal_pb2.PostBatchItem(idempotency_key=key, event=event)]


def mispriced_item() -> list[journal_pb2.PostBatchItem]:
    wrong = points_pb2.RedeemPointsRequest(member_id="m_1", points=80, amount=2.0)
    return [journal_pb2.PostBatchItem(idempotency_key="k", redeem=wrong)]


@pytest.mark.parametrize(
    ("sent", "twin", "refusals"),
    [
        (items("m_1", 5, 6), items("m_2", 5, 6), ["IDEMPOTENCY_KEY_REUSED"] * 2),
        (purchase("m_1", "k_1"), purchase("m_2", "k_2"), ["CONFLICT"]),
        (mispriced_item(), mispriced_item(), ["AMOUNT_MISMATCH"] * 2),
    ],
)
async def test_a_bulk_call_that_loses_a_race_loses_only_the_raced_items(
    twins: Twins, sent: Any, twin: Any, refusals: list[str]
) -> None:
    async with asyncio.TaskGroup() as group:
        async with holding(twins.url, KEYS_HELD):
            calls = [
                group.create_task(process.definite("PostBatch", "", items=each))
                for process, each in ((twins.one, sent), (twins.other, twin))
            ]
            await waiting(twins.url, 2)
    answers = [call.result() for call in calls]
    assert "INTERNAL" not in answers
    refused = [result.refusal.reason for answer in answers for result in answer.results if result.refusal.reason]
    assert refused == refusals


async def test_equal_keys_in_opposite_order_never_lock_up(twins: Twins) -> None:
    points = range(1, 1_001)
    for _ in range(6):
        async with holding(twins.url, KEYS_HELD):
            calls = [
                asyncio.create_task(one.call("PostBatch", items=asked))
                for one, asked in ((twins.one, items("m_1", *points)), (twins.other, items("m_2", *points)[::-1]))
            ]
            await waiting(twins.url, 2)
        await asyncio.gather(*calls)
        await ask(twins.url, "DELETE FROM idempotency_keys WHERE operation = 'RedeemPoints' RETURNING key")
    assert await twins.deadlocks() == 0
