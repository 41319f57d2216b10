"""What listings keep in memory is never older than it may be, and never more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from rewards.catalog.v1 import rewards_pb2 as pb

from catalog_svc import store
from catalog_svc.kept import Answers, Standings
from catalog_svc.tests.conftest import PROGRAM, Catalog, reward
from svckit.db import Tx


def page(text: str) -> pb.ListRewardsResponse:
    return pb.ListRewardsResponse(next_page_token=text)


async def kept(answers: Answers, program_id: str, tag: str, text: str) -> str:
    async def make() -> pb.ListRewardsResponse:
        return page(text)

    return (await answers.get(program_id, tag, pb.ListRewardsResponse, make)).next_page_token


async def test_an_answer_is_made_once_for_its_program_and_tag() -> None:
    answers = Answers()
    assert [await kept(answers, "p", "one", text) for text in ("a", "b")] == ["a", "a"]
    assert await kept(answers, "p", "two", "c") == "c"
    assert await kept(answers, "q", "one", "d") == "d"


async def test_what_was_not_asked_for_lately_makes_room() -> None:
    answers = Answers(max_bytes=2 * page("x" * 100).ByteSize())
    for tag in ("one", "two", "one", "three"):
        await kept(answers, "p", tag, tag[0] * 100)
    again = [(await kept(answers, "p", tag, "made anew"))[:4] for tag in ("one", "three", "two")]
    assert again == ["oooo", "tttt", "made"]
    # Larger than all the room there is: given, and not kept.
    large = [await kept(answers, "p", "large", text * 1_000) for text in ("a", "b")]
    assert [text[0] for text in large] == ["a", "b"]
    assert answers._bytes == sum(message.ByteSize() for message in answers._kept.values())


class Gated:
    """A database whose reads wait until they are let through."""

    def __init__(self, db: Any) -> None:
        self._db = db
        self.asked, self.open = asyncio.Event(), asyncio.Event()

    async def transact(self, work: Any) -> Any:
        return await self._db.transact(work)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        async with self._db.read() as tx:
            yield tx
            self.asked.set()
            await self.open.wait()


async def test_what_was_read_while_it_changed_is_not_kept(catalog: Catalog) -> None:
    gated: Any = Gated(catalog.db)
    standings = Standings(gated)
    reading = asyncio.create_task(standings.of(PROGRAM))
    await gated.asked.wait()
    await standings.change(PROGRAM, lambda tx: store.count_change(tx, PROGRAM))
    gated.open.set()
    assert (await reading).revision == 0
    assert (await standings.of(PROGRAM)).revision == 1


async def test_another_process_sees_a_change_soon(catalog: Catalog) -> None:
    other = Standings(catalog.db)
    assert (await other.of(PROGRAM)).revision == 0
    await catalog.put(reward("a"))
    while (await other.of(PROGRAM)).revision == 0:  # noqa: ASYNC110 - another process has no way to tell
        await asyncio.sleep(0.05)
