"""The answer is lost, between PostgreSQL and the service or between the service and its caller: one effect (D1, D4)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import pytest
from rewards.ledger.v1 import batches_pb2, journal_pb2, points_pb2

from ledger_svc.tests.instances import (
    KEYS_HELD,
    PROGRAM,
    Caller,
    Instance,
    ask,
    calling,
    holding,
    instance,
    prepare,
    until,
    waiting,
)
from ledger_svc.tests.swallowing import CallerProxy, DatabaseProxy, Loss, caller_proxy, database_proxy
from ledger_svc.verify.report import faults, findings

KEPT: Final = "SELECT key, body FROM idempotency_keys WHERE operation = 'RedeemPoints'"


class Fragile:
    """A process of the ledger with a proxy before it and one behind it; `caller` comes through the former."""

    def __init__(self, url: str, service: Instance, database: DatabaseProxy, way: CallerProxy, caller: Caller) -> None:
        self.url, self.service, self.database, self.way, self.caller = url, service, database, way, caller

    async def redeem(self, key: str, points: int = 10) -> Any:
        return await self.caller.outcome("RedeemPoints", key, member_id="m_1", points=points)

    async def again(self, key: str, points: int = 10) -> Any:
        return await self.caller.definite("RedeemPoints", key, member_id="m_1", points=points)

    async def kept(self) -> dict[str, Any]:
        """The answers that the database has, by their keys."""
        return {key: points_pb2.RedeemPointsResponse.FromString(body) for key, body in await ask(self.url, KEPT)}

    async def queued(self, count: int, *, left: bool = False) -> None:
        """Returns when so many calls wait for the batch before theirs, or when all of them have been given up."""

        async def so_it_is() -> bool:
            waiting = self.service.journal._lanes[PROGRAM]._waiting
            return len(waiting) == count and all(future.done() is left for _, future in waiting)

        await until(so_it_is)

    async def balance(self) -> int:
        return int((await self.service.balance("m_1")).balance)


@pytest.fixture
async def fragile(fresh_url: Callable[[str], Awaitable[str]], authority: Any) -> AsyncIterator[Fragile]:
    url = await fresh_url("ledger_svc")
    async with (
        database_proxy(url) as (database, through),
        instance(through, authority) as service,
        caller_proxy(service.address) as (way, address),
        calling(address, authority.issue("gateway")) as channel,
    ):
        await prepare(service.address, authority, ("m_1",))
        made = Fragile(url, service, database, way, Caller(channel))
        await made.caller.call("CreateCredit", member_id="m_1", points=1_000)
        yield made
        assert faults(await findings(url)) == []


@pytest.mark.parametrize("loss", Loss)
async def test_a_commit_without_an_answer_is_unknown_until_it_is_asked_again(fragile: Fragile, loss: Loss) -> None:
    fragile.database.lose(loss)
    assert await fragile.redeem("k") == "UNAVAILABLE"
    assert fragile.database.lost == 1
    kept = await fragile.kept()
    assert list(kept) == (["k"] if loss is Loss.ANSWER else [])
    again = await fragile.redeem("k")
    assert again == kept.get("k", again)
    assert await fragile.redeem("k") == again
    assert await fragile.balance() == 990


@pytest.mark.parametrize("loss", Loss)
async def test_all_of_a_batch_share_its_fate_and_resolve_it_each(fragile: Fragile, loss: Loss) -> None:
    keys = [f"k-{number}" for number in range(12)]
    fragile.database.lose(loss, spared=1)
    async with asyncio.TaskGroup() as group:
        async with holding(fragile.url, KEYS_HELD):
            calls = [group.create_task(fragile.redeem(keys[0]))]
            await waiting(fragile.url, 1)
            calls += [group.create_task(fragile.redeem(key)) for key in keys[1:]]
            await fragile.queued(len(keys) - 1)
    assert [call.result() for call in calls[1:]] == ["UNAVAILABLE"] * 11
    kept = await fragile.kept()
    assert set(kept) == set(keys if loss is Loss.ANSWER else keys[:1])
    assert kept[keys[0]] == calls[0].result()
    answers = dict(zip(keys, await asyncio.gather(*map(fragile.again, keys)), strict=True))
    assert {**answers, **kept} == answers == await fragile.kept()
    assert await fragile.balance() == 1_000 - 10 * 12


@pytest.mark.parametrize("loss", Loss)
async def test_a_bulk_call_without_an_answer_is_sent_again_as_a_whole(fragile: Fragile, loss: Loss) -> None:
    redeems = [points_pb2.RedeemPointsRequest(member_id="m_1", points=points) for points in (100, 2_000, 300, 700)]
    items = [
        journal_pb2.PostBatchItem(idempotency_key=f"k-{number}", redeem=redeem) for number, redeem in enumerate(redeems)
    ]
    fragile.database.lose(loss)
    assert await fragile.caller.outcome("PostBatch", items=items) == "UNAVAILABLE"
    first = await fragile.caller.call("PostBatch", items=items)
    assert [result.replayed for result in first.results] == [loss is Loss.ANSWER] * 4
    assert [result.WhichOneof("outcome") for result in first.results] == ["redeem", "refusal", "redeem", "refusal"]
    again = await fragile.caller.call("PostBatch", items=items)
    for result in first.results:
        result.replayed = True
    assert again == first
    assert await fragile.balance() == 600


@pytest.mark.parametrize("loss", Loss)
async def test_a_batch_without_an_answer_is_found_again_under_its_key(fragile: Fragile, loss: Loss) -> None:
    sent = [
        batches_pb2.BatchTransaction(idempotency_key=f"k-{number}", member_id=member_id, type="buy", amount=10)
        for number, member_id in enumerate(("m_1", "nobody", "m_1"))
    ]
    fragile.database.lose(loss)
    assert await fragile.caller.outcome("InsertTransactionBatch", "batch", transactions=sent) == "UNAVAILABLE"
    assert await fragile.balance() == (1_020 if loss is Loss.ANSWER else 1_000)
    answer = await fragile.caller.call("InsertTransactionBatch", "batch", transactions=sent)
    assert await fragile.caller.call("InsertTransactionBatch", "batch", transactions=sent) == answer
    told = await fragile.caller.call("GetBatchStatus", batch_id=answer.batch_id)
    assert [result.refusal.reason for result in told.results] == ["", "MEMBER_NOT_FOUND", ""]
    # No item met its own key: what is told is the first and only time.
    assert not any(result.replayed for result in told.results)
    assert await ask(fragile.url, "SELECT batch_id::text FROM transaction_batches") == [(answer.batch_id,)]
    assert await fragile.balance() == 1_020


async def test_a_connection_that_breaks_before_the_commit_is_nobodys_trouble(fragile: Fragile) -> None:
    async with asyncio.TaskGroup() as group:
        async with holding(fragile.url, "SELECT FROM accounts FOR UPDATE"):
            call = group.create_task(fragile.redeem("k"))
            await waiting(fragile.url, 1)
            fragile.database.cut()
            # The server does not know yet that nobody is there, and the service tries again behind its back.
            await waiting(fragile.url, 2)
    assert call.result() == (await fragile.kept())["k"]
    assert await fragile.balance() == 990


async def test_a_caller_who_hears_nothing_asks_again(fragile: Fragile) -> None:
    fragile.way.swallow()
    call = asyncio.create_task(fragile.redeem("k"))
    await until(fragile.kept)
    fragile.way.cut()
    assert await call == "UNAVAILABLE"
    fragile.way.pass_on()
    assert await fragile.again("k") == (await fragile.kept())["k"]
    assert await fragile.balance() == 990


async def test_a_caller_who_is_cut_off_while_the_batch_runs_asks_again(fragile: Fragile) -> None:
    async with holding(fragile.url, KEYS_HELD):
        call = asyncio.create_task(fragile.redeem("k"))
        await waiting(fragile.url, 1)
        fragile.way.cut()
        assert await call == "UNAVAILABLE"
    assert await fragile.again("k") == (await fragile.kept())["k"]
    assert await fragile.balance() == 990


async def test_who_is_cut_off_in_the_queue_has_posted_nothing_and_may_ask_again(fragile: Fragile) -> None:
    async with asyncio.TaskGroup() as group:
        async with holding(fragile.url, KEYS_HELD):
            first = group.create_task(fragile.service.outcome("RedeemPoints", "first", member_id="m_1", points=10))
            await waiting(fragile.url, 1)
            cut_off = [group.create_task(fragile.redeem(f"k-{number}")) for number in range(5)]
            await fragile.queued(5)
            fragile.way.cut()
            await fragile.queued(5, left=True)
    assert [call.result() for call in cut_off] == ["UNAVAILABLE"] * 5
    assert await fragile.service.outcome("RedeemPoints", "last", member_id="m_1", points=10) != first.result()
    assert set(await fragile.kept()) == {"first", "last"}
    await asyncio.gather(*(fragile.again(f"k-{number}") for number in range(5)))
    assert await fragile.balance() == 1_000 - 10 * 7


async def test_a_bulk_call_that_nobody_hears_of_is_sent_again(fragile: Fragile) -> None:
    redeem = points_pb2.RedeemPointsRequest(member_id="m_1", points=10)
    items = [journal_pb2.PostBatchItem(idempotency_key=f"k-{number}", redeem=redeem) for number in range(50)]
    fragile.way.swallow()
    call = asyncio.create_task(fragile.caller.outcome("PostBatch", items=items))
    await until(fragile.kept)
    fragile.way.cut()
    assert await call == "UNAVAILABLE"
    fragile.way.pass_on()
    answer = await fragile.caller.definite("PostBatch", "", items=items)
    kept = await fragile.kept()
    assert [result.redeem for result in answer.results] == [kept[item.idempotency_key] for item in items]
    assert all(result.replayed for result in answer.results)
    assert await fragile.balance() == 500
