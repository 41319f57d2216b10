"""InsertTransactionBatch and GetBatchStatus through the real server."""

from typing import Any, Final

import grpc
import pytest
from rewards.ledger.v1 import batches_pb2 as pb
from rewards.ledger.v1 import journal_pb2, outcomes_pb2, points_pb2

from ledger_svc.tests.conftest import PROGRAM, SCOPES, Ledger
from ledger_svc.tests.instances import ask
from svckit import paging
from svckit.clients import _refusal
from svckit.clock import new_id
from svckit.errors import Reason
from svckit.testing import headers, partner

SUCCEEDED, FAILED, SKIPPED = pb.BatchResult.SUCCEEDED, pb.BatchResult.FAILED, pb.BatchResult.SKIPPED
Modes = journal_pb2.PostBatchRequest


def event(key: str, amount: float = 1.0, member_id: str = "m_1", **more: Any) -> pb.BatchTransaction:
    return pb.BatchTransaction(
        idempotency_key=key, member_id=member_id, type="purchase", amount=amount, **{"event_id": f"of {key}", **more}
    )


def single(sent: pb.BatchTransaction) -> points_pb2.InsertTransactionDataRequest:
    """The call that the item stands for, field by field."""
    request = points_pb2.InsertTransactionDataRequest(
        member_id=sent.member_id, type=sent.type, event_id=sent.event_id, amount=sent.amount
    )
    if sent.HasField("attributes"):
        request.attributes.CopyFrom(sent.attributes)
    return request


async def send(ledger: Ledger, *sent: pb.BatchTransaction, key: str = "", mode: Any = Modes.CONTINUE) -> str:
    request = pb.InsertTransactionBatchRequest(transactions=sent, mode=mode)
    answer = await ledger.bulk.InsertTransactionBatch(
        request, timeout=10, metadata=headers(partner(PROGRAM, *SCOPES), key or str(new_id()))
    )
    return str(answer.batch_id)


async def status(ledger: Ledger, batch_id: str, program: str = PROGRAM, **paging: Any) -> Any:
    request = pb.GetBatchStatusRequest(batch_id=batch_id, **paging)
    return await ledger.bulk.GetBatchStatus(request, timeout=10, metadata=headers(partner(program, *SCOPES)))


async def became(ledger: Ledger, *sent: pb.BatchTransaction, mode: Any = Modes.CONTINUE) -> Any:
    return await status(ledger, await send(ledger, *sent, mode=mode))


def statuses(answer: Any) -> list[Any]:
    return [result.status for result in answer.results]


async def refusal_of(call: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return _refusal(caught.value)


async def test_each_event_is_posted_and_its_answer_is_told_by_its_place(ledger: Ledger) -> None:
    answer = await became(ledger, event("a", 10), event("b", 2.5), event("c", 0))
    assert (answer.status, answer.mode) == (pb.GetBatchStatusResponse.COMPLETED, Modes.CONTINUE)
    assert (answer.total, answer.succeeded, answer.failed, answer.skipped) == (3, 3, 0, 0)
    assert not answer.HasField("first_failed")
    assert [(r.index, r.idempotency_key, r.status, r.replayed) for r in answer.results] == [
        (place, key, SUCCEEDED, False) for place, key in enumerate("abc")
    ]
    assert [(r.transaction.points_awarded, r.transaction.balance) for r in answer.results] == [
        (10, 10),
        (2, 12),
        (0, 12),
    ]
    assert [award.rule_id for award in answer.results[1].transaction.awards] == ["base"]
    assert (await ledger.balance("m_1")).balance == 12


SIZE: Final = """
SELECT pg_column_size(keys) + pg_column_size(statuses) + pg_column_size(replays) + pg_column_size(refusals)
FROM transaction_batches"""
REFUSED = event("bad", member_id="nobody")


@pytest.mark.parametrize(
    ("mode", "whole", "each", "balance"),
    [
        (Modes.MODE_UNSPECIFIED, pb.GetBatchStatusResponse.COMPLETED, [SUCCEEDED, FAILED, SUCCEEDED, FAILED], 3),
        (Modes.CONTINUE, pb.GetBatchStatusResponse.COMPLETED, [SUCCEEDED, FAILED, SUCCEEDED, FAILED], 3),
        (Modes.STOP_ON_ERROR, pb.GetBatchStatusResponse.STOPPED, [SUCCEEDED, FAILED, SKIPPED, SKIPPED], 1),
        (Modes.ATOMIC, pb.GetBatchStatusResponse.FAILED, [SKIPPED, FAILED, SKIPPED, FAILED], 0),
    ],
)
async def test_a_refused_event_does_to_the_others_what_the_mode_says(
    ledger: Ledger, mode: Any, whole: Any, each: list[Any], balance: int
) -> None:  # G61
    sent = (event("a"), REFUSED, event("b", 2), event("worse", member_id="m_1", currency="EUR", amount=0.001))
    answer = await became(ledger, *sent, mode=mode)
    assert (answer.status, statuses(answer)) == (whole, each)
    counted = [answer.succeeded, answer.failed, answer.skipped]
    assert counted == [each.count(one) for one in (SUCCEEDED, FAILED, SKIPPED)]
    assert (answer.total, answer.first_failed) == (4, 1)
    reasons = ["", "MEMBER_NOT_FOUND", "", "INVALID_REQUEST"]
    assert [r.refusal.reason for r in answer.results] == [
        reason if status == FAILED else "" for reason, status in zip(reasons, each, strict=True)
    ]
    assert answer.results[1].refusal.error_code == 3001
    assert (await ledger.balance("m_1")).balance == balance
    for one in (sent[0], sent[2]):
        replayed = await became(ledger, one)
        assert replayed.results[0].replayed is (each[sent.index(one)] == SUCCEEDED)
    assert (await ledger.balance("m_1")).balance == 3


async def test_its_key_gives_the_same_batch_again_and_has_no_effect(ledger: Ledger) -> None:
    sent = (event("a"), REFUSED)
    first = await send(ledger, *sent, key="batch")
    before = await status(ledger, first)
    # What the refused item lacked is there now, and the batch is what it was all the same.
    await ledger.member("nobody")
    request = pb.InsertTransactionBatchRequest(transactions=sent, mode=Modes.CONTINUE)
    again = ledger.bulk.InsertTransactionBatch(request, metadata=headers(partner(PROGRAM, *SCOPES), "batch"))
    assert (await again).batch_id == first
    assert dict(await again.initial_metadata())["idempotency-replayed"] == "true"
    assert await status(ledger, first) == before
    assert (await ledger.balance("nobody")).balance == 0
    other = await refusal_of(send(ledger, *sent, key="batch", mode=Modes.ATOMIC))
    assert other.reason == Reason.IDEMPOTENCY_KEY_REUSED
    assert await ask(ledger.database_url, "SELECT count(*) FROM transaction_batches") == [(1,)]


async def test_a_key_is_the_same_in_a_batch_and_alone(ledger: Ledger) -> None:  # G60
    sent = event("a", attributes={"shop": "Bonn"})
    alone = await ledger.call("InsertTransactionData", single(sent), "a")
    in_batch = await became(ledger, sent, event("b"), event("a", 7))
    assert [(r.replayed, r.transaction == alone) for r in in_batch.results] == [
        (True, True),
        (False, False),
        (False, False),
    ]
    assert in_batch.results[2].refusal.reason == "IDEMPOTENCY_KEY_REUSED"
    call = ledger.points.InsertTransactionData(single(event("b")), metadata=headers(partner(PROGRAM, *SCOPES), "b"))
    assert await call == in_batch.results[1].transaction
    assert dict(await call.initial_metadata())["idempotency-replayed"] == "true"
    assert await ledger.refused("InsertTransactionData", single(event("b", 3)), "b") == "IDEMPOTENCY_KEY_REUSED"
    assert (await ledger.balance("m_1")).balance == 2


async def test_a_key_or_an_event_twice_in_a_batch_is_two_calls_in_their_order(ledger: Ledger) -> None:  # G60
    sent = (
        event("a"),
        event("a"),
        event("a", 2),
        event("b", event_id="of a"),
        event("c", event_id=""),
        event("d", event_id=""),
    )
    answer = await became(ledger, *sent)
    assert [r.replayed for r in answer.results] == [False, True, False, False, False, False]
    assert answer.results[1].transaction == answer.results[0].transaction
    reasons = [r.refusal.reason for r in answer.results]
    assert reasons == ["", "", "IDEMPOTENCY_KEY_REUSED", "CONFLICT", "", ""]
    assert (await ledger.balance("m_1")).balance == 3


async def test_a_refusal_is_remembered_where_a_single_call_would_be(ledger: Ledger) -> None:  # G58
    await ledger.member("m_2", active=False)
    sent = (event("a", member_id="m_2"), event("b", member_id="late"))
    assert [r.refusal.reason for r in (await became(ledger, *sent)).results] == [
        "MEMBER_NOT_ACTIVE",
        "MEMBER_NOT_FOUND",
    ]
    await ledger.member("m_2", version=2)
    await ledger.member("late")
    again = await became(ledger, *sent)
    assert [(r.refusal.reason, r.replayed) for r in again.results] == [("MEMBER_NOT_ACTIVE", True), ("", False)]


async def test_results_are_paged_by_their_places(ledger: Ledger) -> None:  # G63
    sent = [event(f"k-{number}", number, "m_1" if number % 3 else "nobody") for number in range(120)]
    batch_id = await send(ledger, *sent)
    whole = await status(ledger, batch_id, page_size=500)
    assert (len(whole.results), whole.next_page_token) == (120, "")
    assert [r.index for r in whole.results] == list(range(120))
    token = ""
    pages: list[pb.GetBatchStatusResponse] = []
    while not pages or token:
        page = await status(ledger, batch_id, page_token=token)
        assert (page.total, page.succeeded, page.failed, page.first_failed) == (120, 80, 40, 0)
        pages.append(page)
        token = page.next_page_token
    assert [len(page.results) for page in pages] == [50, 50, 20]
    assert [result for page in pages for result in page.results] == list(whole.results)
    other = await send(ledger, event("z"))
    of_other = pb.GetBatchStatusRequest(batch_id=other)
    forged = [paging.token(of_other, *place) for place in ((), ("-1",), ("x",), ("1001",), ("1", "2"))]
    assert (await status(ledger, other, page_token=paging.token(of_other, "1000"))).results == []
    for bad in (pages[0].next_page_token, "nonsense", *forged):
        assert (await refusal_of(status(ledger, other, page_token=bad))).reason == Reason.INVALID_REQUEST


async def test_another_programs_batch_is_nobodys(ledger: Ledger) -> None:  # G49
    batch_id = await send(ledger, event("a"))
    theirs = await refusal_of(status(ledger, batch_id, program="sandbox-other"))
    nobodys = await refusal_of(status(ledger, str(new_id())))
    assert theirs.reason == nobodys.reason == Reason.ORDER_NOT_FOUND
    assert theirs.message == nobodys.message


@pytest.mark.parametrize(
    ("sent", "fields"),
    [
        ([], ["transactions"]),
        ([event(f"k-{number}") for number in range(1_001)], ["transactions"]),
        ([event("a"), event("b c")], ["transactions[1].idempotencyKey"]),
        ([event("a", -1, "no member")], ["transactions[0].memberId", "transactions[0].amount"]),
    ],
)
async def test_what_no_call_could_mean_refuses_the_whole(ledger: Ledger, sent: Any, fields: list[str]) -> None:
    refusal = await refusal_of(send(ledger, *sent))
    assert refusal.reason == Reason.INVALID_REQUEST
    assert [violation.field for violation in refusal.detail.field_violations] == fields
    assert (await ledger.balance("m_1")).balance == 0


async def test_a_thousand_at_once_and_what_they_take_of_the_disk(ledger: Ledger) -> None:
    members = [f"m_{number}" for number in range(1, 101)]
    for member_id in members:
        await ledger.member(member_id)
    sent = [event(f"event-2026-{place:06}", 1, members[place % 100]) for place in range(1_000)]
    batch_id = await send(ledger, *sent, mode=Modes.ATOMIC)
    answer = await status(ledger, batch_id)
    assert (answer.succeeded, answer.total) == (1_000, 1_000)
    assert {(await ledger.balance(member_id)).balance for member_id in members} == {10}
    assert (await ask(ledger.database_url, SIZE))[0][0] < 20_000


async def test_did_it_happen(ledger: Ledger) -> None:
    asked = outcomes_pb2.GetOutcomeRequest(operation="InsertTransactionBatch", idempotency_key="batch")
    caller = headers(partner(PROGRAM, *SCOPES))
    assert (await ledger.outcomes.GetOutcome(asked, metadata=caller)).status == outcomes_pb2.GetOutcomeResponse.NOT_SEEN
    batch_id = await send(ledger, event("a"), key="batch")
    assert (await ledger.outcomes.GetOutcome(asked, metadata=caller)).batch.batch_id == batch_id
    of_item = outcomes_pb2.GetOutcomeRequest(operation="InsertTransactionData", idempotency_key="a")
    assert (await ledger.outcomes.GetOutcome(of_item, metadata=caller)).event.points_awarded == 1


def test_an_item_has_the_fields_of_the_single_call() -> None:
    def fields(message: Any) -> dict[str, Any]:
        described = {
            field.name: (field.number, field.type, str(field.GetOptions())) for field in message.DESCRIPTOR.fields
        }
        return {name: field for name, field in described.items() if name != "idempotency_key"}

    assert fields(pb.BatchTransaction) == fields(points_pb2.InsertTransactionDataRequest)
