"""What listings keep in memory: how each program's catalog stands, and the answers that were given lately.

An answer is kept by its ETag: what has the same one is the same answer, so none is ever old. How a catalog stands may
be a second old where another process has changed it, like the program's rate; what is bought is priced by the database.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from google.protobuf.message import Message

from catalog_svc import store
from catalog_svc.store import Standing
from svckit.db import Database, Result, Tx
from svckit.programs import MAX_AGE_S

Answer = TypeVar("Answer", bound=Message)

# On the wire; in memory they take about three times as much.
MAX_BYTES: Final = 32 << 20


class Standings:
    """How catalogs stand, at most MAX_AGE_S ago; from a change in this process on, as they stand after it."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._read: dict[str, tuple[float, Standing]] = {}
        self._changed: dict[str, float] = {}

    async def of(self, program_id: str) -> Standing:
        """How a program's catalog stands."""
        read_at_s, kept = self._read.get(program_id, (0.0, None))
        began_s = time.monotonic()
        if kept is not None and began_s - read_at_s < MAX_AGE_S:
            return kept
        async with self._db.read() as tx:
            fresh = await store.standing(tx, program_id)
        # What was read while it changed may be from before.
        if began_s > self._changed.get(program_id, 0.0):
            self._read[program_id] = (began_s, fresh)
        return fresh

    async def change(self, program_id: str, work: Callable[[Tx], Awaitable[Result]]) -> Result:
        """Runs what changes a program's catalog in a transaction; from then on it stands as it does after that."""
        try:
            return await self._db.transact(work)
        finally:
            # Also where nobody knows whether it was committed.
            self._changed[program_id] = time.monotonic()
            self._read.pop(program_id, None)


class Answers:
    """Answers by program and ETag, those that were asked for last; `max_bytes` of them."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, str], Message] = OrderedDict()

    async def get(self, program_id: str, tag: str, kind: type[Answer], make: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer with this ETag; made if it is not there."""
        key = (program_id, tag)
        kept = self._kept.get(key)
        if isinstance(kept, kind):
            self._kept.move_to_end(key)
            return kept
        made = await make()
        if key not in self._kept:
            self._kept[key] = made
            self._bytes += made.ByteSize()
        while self._bytes > self._max_bytes:
            self._bytes -= self._kept.popitem(last=False)[1].ByteSize()
        return made
