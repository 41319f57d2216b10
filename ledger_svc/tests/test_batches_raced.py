"""Batches that meet: their own keys, their items' keys, the members they are about."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from rewards.ledger.v1 import batches_pb2 as pb
from rewards.ledger.v1 import directory_pb2
from rewards.ledger.v1.directory_pb2_grpc import MemberDirectoryServiceStub

from ledger_svc.tests.instances import KEYS_HELD, PROGRAM, Twins, ask, calling, holding, waiting
from ledger_svc.verify.report import faults, findings


@pytest.fixture(autouse=True)
async def sound(twins: Twins) -> AsyncIterator[None]:
    yield
    assert faults(await findings(twins.url)) == []


def events(count: int, member_id: str = "m_1", keys: str = "k", amount: float = 1) -> list[pb.BatchTransaction]:
    return [
        pb.BatchTransaction(idempotency_key=f"{keys}-{place}", member_id=member_id, type="buy", amount=amount)
        for place in range(count)
    ]


def single(sent: pb.BatchTransaction) -> dict[str, Any]:
    return {"member_id": sent.member_id, "type": sent.type, "amount": sent.amount}


async def told(twins: Twins, answer: Any) -> Any:
    return await twins.one.call("GetBatchStatus", batch_id=answer.batch_id, page_size=500)


async def test_a_batch_and_single_calls_of_its_keys_count_each_event_once(twins: Twins) -> None:
    for round_ in range(5):
        sent = events(20, keys=f"round-{round_}")
        async with asyncio.TaskGroup() as group:
            async with holding(twins.url, KEYS_HELD):
                batch = group.create_task(twins.other.definite("InsertTransactionBatch", "", transactions=sent))
                alone = [
                    group.create_task(twins.one.definite("InsertTransactionData", one.idempotency_key, **single(one)))
                    for one in sent[round_::2]
                ]
                await waiting(twins.url, 2)
        found = await told(twins, batch.result())
        assert found.succeeded == 20
        assert [result.transaction for result in found.results][round_::2] == [one.result() for one in alone]
        assert await twins.balances("m_1") == [20 * (round_ + 1)]


async def test_of_two_batches_under_one_key_one_wins_and_the_other_does_nothing(twins: Twins) -> None:
    for number in range(5):
        twos = [events(3, member_id, f"{member_id}-{number}") for member_id in ("m_1", "m_2")]
        before = await twins.balances("m_1", "m_2")
        async with asyncio.TaskGroup() as group:
            async with holding(twins.url, KEYS_HELD):
                calls = [
                    group.create_task(process.definite("InsertTransactionBatch", f"key-{number}", transactions=sent))
                    for process, sent in zip(twins.each(2), twos, strict=True)
                ]
                await waiting(twins.url, 2)
        [refused] = [place for place, call in enumerate(calls) if call.result() == "IDEMPOTENCY_KEY_REUSED"]
        before[1 - refused] += 3
        assert await twins.balances("m_1", "m_2") == before


async def test_batches_that_share_an_event_have_it_once(twins: Twins) -> None:
    raced = [
        [*events(2, member_id, member_id), pb.BatchTransaction(
            idempotency_key=member_id, member_id=member_id, type="buy", amount=10, event_id="e"
        )]
        for member_id in ("m_1", "m_2")
    ]  # fmt: skip
    async with asyncio.TaskGroup() as group:
        async with holding(twins.url, KEYS_HELD):
            calls = [
                group.create_task(process.definite("InsertTransactionBatch", "", transactions=sent))
                for process, sent in zip(twins.each(2), raced, strict=True)
            ]
            await waiting(twins.url, 2)
    reasons = [[r.refusal.reason for r in (await told(twins, call.result())).results] for call in calls]
    assert sorted(reasons) == [["", "", ""], ["", "", "CONFLICT"]]
    assert sorted(await twins.balances("m_1", "m_2")) == [2, 12]


async def test_batches_in_opposite_orders_never_lock_up(twins: Twins) -> None:
    for round_ in range(6):
        pairs = zip(events(200, "m_1", f"one-{round_}"), events(200, "m_2", f"other-{round_}"), strict=True)
        mixed = [one for pair in pairs for one in pair]
        async with holding(twins.url, KEYS_HELD):
            calls = [
                asyncio.create_task(one.call("InsertTransactionBatch", f"{place}-{round_}", transactions=sent))
                for place, (one, sent) in enumerate(((twins.one, mixed), (twins.other, mixed[::-1])))
            ]
            await waiting(twins.url, 2)
        await asyncio.gather(*calls)
    assert await twins.balances("m_1", "m_2") == [1_200, 1_200]
    assert await twins.deadlocks() == 0


async def test_a_batch_finds_whom_a_merge_made_of_its_member(twins: Twins, authority: Any) -> None:  # G44
    async with calling(twins.one.address, authority.issue("identity_svc")) as identity:
        merged = directory_pb2.StoreMemberRequest(
            program_id=PROGRAM, member_id="m_2", active=True, version=2, alias_of="m_1"
        )
        await MemberDirectoryServiceStub(identity).StoreMember(merged)
    answer = await twins.one.call("InsertTransactionBatch", transactions=[*events(2, "m_2"), *events(1, "m_1", "l")])
    assert [result.transaction.balance for result in (await told(twins, answer)).results] == [1, 2, 3]
    posted = "SELECT owner, posted FROM accounts WHERE posted > 0"
    assert await ask(twins.url, posted) == [("m_1", 3)]
