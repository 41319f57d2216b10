"""Posts what time has done: points that ran out, and holds that did (G3, G5). Once each, whoever asks.

Points are gone from their instant on, posted or not. A hold that is due can no longer be captured or voided, and what
it set aside is free once its end is posted (decision 0008).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from google.protobuf.empty_pb2 import Empty

from ledger_svc.journal import store
from ledger_svc.journal.book import Posted
from ledger_svc.journal.engine import Item, Journal
from ledger_svc.journal.holdings import Void
from ledger_svc.journal.postings import Expire
from ledger_svc.journal.values import Key
from ledger_svc.tables import programs
from svckit.clock import Clock
from svckit.db import Database

BATCH: Final = 200


class Sweeper:
    """Posts what is due, program by program."""

    def __init__(self, db: Database, journal: Journal, clock: Clock) -> None:
        self._db = db
        self._journal = journal
        self._clock = clock

    async def step(self) -> int:
        """A worker's step: what is due in all programs; how much there was."""
        async with self._db.read() as tx:
            found = [await programs.get(tx, program_id) for program_id in await programs.ids(tx)]
        done = 0
        for program in found:
            now = program.now(self._clock)
            done += await self.time_out(program.program_id, now)
            done += (await self.expire(program.program_id, now))[1]
        return done

    async def expire(self, program_id: str, now: datetime, member_id: str | None = None) -> tuple[int, int]:
        """Posts the lots that have run out, of a member or of all; how many points, on how many accounts."""
        points, accounts = 0, 0
        while due := await self._due_accounts(program_id, now, member_id):
            swept: list[Posted] = []
            items = [Item(Expire(key, now), None, _noted(swept)) for key in due]
            await self._journal.post_many(program_id, items)
            points += sum(posted.amount for posted in swept)
            accounts += len(due)
        return points, accounts

    async def time_out(self, program_id: str, now: datetime) -> int:
        """Ends the holds that have run out; how many."""
        async with self._db.read() as tx:
            due = await store.due_holds(tx, program_id, now, BATCH)
        if due:
            items = [Item(Void(hold_id, now, timeout=True), None, lambda _: Empty()) for hold_id in due]
            await self._journal.post_many(program_id, items)
        return len(due)

    async def _due_accounts(self, program_id: str, now: datetime, member_id: str | None) -> list[Key]:
        async with self._db.read() as tx:
            return await store.due_accounts(tx, program_id, now, member_id, BATCH)


def _noted(swept: list[Posted]) -> Callable[[Posted], Empty]:
    def note(posted: Posted) -> Empty:
        swept.append(posted)
        return Empty()

    return note
