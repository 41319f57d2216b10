"""kill -9 of the service and of PostgreSQL's own processes mid-batch: what was acknowledged is there, once (D1, D3)."""

import asyncio
import contextlib
import itertools
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
import pytest
from rewards.ledger.v1 import batches_pb2, journal_pb2, points_pb2

from ledger_svc.tests.instances import (
    Caller,
    ask,
    calling,
    holding,
    prepare,
    recovered,
    stopped_walwriter,
    until,
    waiting,
)
from ledger_svc.tests.service_process import ServiceProcess

TORTURE: Final = bool(os.environ.get("REWARDS_TORTURE"))
KILLS: Final = 50 if TORTURE else 5
CALLERS: Final = 16
MEMBERS: Final = tuple(f"m_{number}" for number in range(8))
# Between two kills the load must have got somewhere.
ANSWERS_BETWEEN: Final = 3 * CALLERS

WRITES_HELD: Final = "LOCK TABLE entries IN SHARE MODE"
WRITING: LiteralString = """
SELECT pid FROM pg_stat_activity
WHERE usename = 'ledger_runtime' AND datname = current_database() AND backend_xid IS NOT NULL"""
BALANCES: Final = "SELECT owner, posted FROM accounts ORDER BY owner"
ENTRIES: Final = "SELECT count(*) FROM entries"


class Acknowledged(NamedTuple):
    """A call and the answer its caller got."""

    rpc: str
    fields: dict[str, Any]
    answer: Any


class Load:
    """Callers who never stop, and write down every answer that they get."""

    def __init__(self, caller: Caller, seed: int) -> None:
        self.caller = caller
        self.answers: dict[str, Acknowledged] = {}
        self.ending = False
        self._chance = random.Random(seed)  # noqa: S311 - nothing secret
        self._numbers = itertools.count()

    async def run(self) -> None:
        """Calls one after the other, each sent again under its key until the answer is definite."""
        while not self.ending:
            rpc, fields = self._next()
            key = f"key-{next(self._numbers)}"
            answer = await self.caller.definite(rpc, key, **fields)
            self.answers[key] = Acknowledged(rpc, fields, answer)

    async def on(self, count: int) -> None:
        """Returns when so many more answers have come."""
        enough = len(self.answers) + count

        async def came() -> bool:
            return len(self.answers) >= enough

        await until(came, within_s=60)

    def _next(self) -> tuple[str, dict[str, Any]]:
        one, other = self._chance.sample(MEMBERS, 2)
        points = self._chance.randint(1, 100)
        kind = self._chance.random()
        if kind < 0.4:
            return "CreateCredit", {"member_id": one, "points": points}
        if kind < 0.6:
            return "RedeemPoints", {"member_id": one, "points": points}
        if kind < 0.8:
            return "CreateTransfer", {"from_member_id": one, "to_member_id": other, "points": points}
        keys = (f"item-{next(self._numbers)}" for _ in range(3))
        redeem, credit = points_pb2.RedeemPointsRequest, points_pb2.CreateCreditRequest
        items = [
            journal_pb2.PostBatchItem(idempotency_key=next(keys), credit=credit(member_id=one, points=points)),
            journal_pb2.PostBatchItem(idempotency_key=next(keys), redeem=redeem(member_id=other, points=points)),
            journal_pb2.PostBatchItem(idempotency_key=next(keys), redeem=redeem(member_id=one, points=7)),
        ]
        return "PostBatch", {"items": items}

    def effects(self) -> list[tuple[str, int]]:
        """What the answers say was posted: the member and the amount of each entry."""
        return [effect for acknowledged in self.answers.values() for effect in _effects(acknowledged)]


def _effects(one: Acknowledged) -> list[tuple[str, int]]:
    if one.rpc == "PostBatch":
        results = zip(one.fields["items"], one.answer.results, strict=True)
        return [_item(item) for item, result in results if result.WhichOneof("outcome") != "refusal"]
    if isinstance(one.answer, str):
        return []
    points = one.fields["points"]
    if one.rpc == "CreateTransfer":
        return [(one.fields["from_member_id"], -points), (one.fields["to_member_id"], points)]
    return [(one.fields["member_id"], points if one.rpc == "CreateCredit" else -points)]


def _item(item: journal_pb2.PostBatchItem) -> tuple[str, int]:
    if item.HasField("credit"):
        return item.credit.member_id, item.credit.points
    return item.redeem.member_id, -item.redeem.points


class Crashes:
    """A process of the ledger under load, and the ways to kill it or its database."""

    def __init__(self, url: str, service: ServiceProcess, load: Load) -> None:
        self.url, self.service, self.load = url, service, load
        self.ways = (
            self.service_mid_batch,
            self.database_mid_batch,
            self.service_as_it_writes,
            self.database_as_it_writes,
        )

    async def service_mid_batch(self) -> None:
        """The batch has its locks and cannot be written while the service dies."""
        async with holding(self.url, WRITES_HELD):
            await waiting(self.url, 1)
            await self.service.kill()
        await self.service.start()

    async def database_mid_batch(self) -> None:
        """As before, with the batch's connection. All others end with it, ours too."""
        walwriter = await self._without_walwriter()
        with contextlib.suppress(psycopg.OperationalError):
            async with holding(self.url, WRITES_HELD):
                await waiting(self.url, 1)
                [(pid,), *_] = await ask(self.url, WRITING)
                self._kill(pid, walwriter)
                await recovered(self.url, walwriter)
        await recovered(self.url, walwriter)

    async def service_as_it_writes(self) -> None:
        """Somewhere between the batch's first lock and its commit, or a little after."""
        await until(lambda: ask(self.url, WRITING))
        await self.service.kill()
        await self.service.start()

    async def database_as_it_writes(self) -> None:
        """As before."""
        walwriter = await self._without_walwriter()
        # The connection stays open, so its process is there still, even if it has committed meanwhile.
        [(pid,), *_] = await until(lambda: ask(self.url, WRITING))
        self._kill(pid, walwriter)
        await recovered(self.url, walwriter)

    async def _without_walwriter(self) -> int:
        """Lets the load go on for a while in which nothing reaches the disk that nobody waits for."""
        walwriter = await stopped_walwriter(self.url)
        await self.load.on(CALLERS)
        return walwriter

    def _kill(self, *pids: int) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
async def crashes(fresh_url: Callable[[str], Awaitable[str]], authority: Any, tmp_path: Path) -> AsyncIterator[Crashes]:
    url = await fresh_url("ledger_svc")
    service = ServiceProcess(url, authority, tmp_path)
    await service.start()
    try:
        await prepare(service.address, authority, MEMBERS)
        async with calling(service.address, authority.issue("gateway")) as channel:
            yield Crashes(url, service, Load(Caller(channel), seed=KILLS))
    finally:
        await service.kill()


@pytest.mark.timeout(60 + 15 * KILLS)
async def test_what_was_acknowledged_survives_every_kill_and_is_there_once(crashes: Crashes) -> None:
    load = crashes.load
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(load.run())
        for kill, _ in zip(itertools.cycle(crashes.ways), range(KILLS), strict=False):
            await load.on(ANSWERS_BETWEEN)
            await kill()
        await load.on(ANSWERS_BETWEEN)
        load.ending = True
    assert {one.answer for one in load.answers.values() if isinstance(one.answer, str)} <= {"INSUFFICIENT_POINTS"}
    before = await ask(crashes.url, BALANCES)
    effects = load.effects()
    balances: Counter[str] = Counter()
    for member_id, points in effects:
        balances[member_id] += points
    assert {owner: posted for owner, posted in before if posted} == {k: v for k, v in balances.items() if v}
    assert await ask(crashes.url, ENTRIES) == [(len(effects),)]
    for key, one in load.answers.items():
        assert _without_mark(await load.caller.outcome(one.rpc, key, **one.fields)) == _without_mark(one.answer)
    assert await ask(crashes.url, BALANCES) == before
    assert "the ledger is sound" in await crashes.service.verify()


async def test_a_batch_is_posted_once_whose_service_died_over_it(crashes: Crashes) -> None:
    sent = [
        batches_pb2.BatchTransaction(idempotency_key=f"k-{place}", member_id=MEMBERS[place % 8], type="buy", amount=1)
        for place in range(1_000)
    ]
    caller = crashes.load.caller
    async with asyncio.TaskGroup() as group:
        async with holding(crashes.url, WRITES_HELD):
            call = group.create_task(caller.definite("InsertTransactionBatch", "batch", transactions=sent))
            await waiting(crashes.url, 1)
            await crashes.service.kill()
        await crashes.service.start()
    assert await caller.call("InsertTransactionBatch", "batch", transactions=sent) == call.result()
    told = await caller.call("GetBatchStatus", batch_id=call.result().batch_id)
    assert (told.succeeded, told.total) == (1_000, 1_000)
    assert await ask(crashes.url, ENTRIES) == [(1_000,)]
    assert await ask(crashes.url, BALANCES) == [(member_id, 125) for member_id in MEMBERS]
    assert "the ledger is sound" in await crashes.service.verify()


def _without_mark(answer: Any) -> Any:
    """A bulk call's answer says of each item whether it is a replay; that is not what was acknowledged."""
    if isinstance(answer, journal_pb2.PostBatchResponse):
        for result in answer.results:
            result.replayed = False
    return answer
