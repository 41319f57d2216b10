"""Credentials as they stand in the database, remembered for at most half a second.

Whoever revokes or rotates a credential acknowledges it only after that time (design decision 11), so from the
acknowledgement on nothing passes: the age counts from before the reading and is checked after it.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Final
from uuid import UUID

from identity_svc.credentials import store
from identity_svc.credentials.rules import STATE_AGE_MAX_S, State
from svckit.db import Database
from svckit.errors import Reason, Refused

CAPACITY: Final = 10_000
# What takes longer to read is too old when it comes.
WAIT_S: Final = STATE_AGE_MAX_S
# Half of the gatekeeper's connections. Whoever makes up keys does not keep those waiting whose credentials are
# remembered, and read anew twice a second.
STRANGERS_MAX: Final = 2

_Asked = tuple[str, UUID | None]
_Reading = tuple[float, State | None]
_NEVER: Final[_Reading] = (float("-inf"), None)


class States:
    """The remembered states, of each credential and of each token of its. An id that does not exist is remembered as
    well: guesses must stay cheap."""

    def __init__(self, db: Database, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._monotonic = monotonic
        self._read: dict[_Asked, _Reading] = {}
        self._reading: dict[_Asked, asyncio.Task[_Reading]] = {}
        self._strangers = asyncio.Semaphore(STRANGERS_MAX)

    async def get(self, credential_id: str, token_id: UUID | None = None) -> State | None:
        """The credential, and whether that token of its is revoked, at most STATE_AGE_MAX_S old.

        Raises UNAVAILABLE if the database does not tell in time.
        """
        asked = (credential_id, token_id)
        known = self._read.get(asked, _NEVER)
        if self._old(known):
            known = await self._ask(asked)
            if self._old(known):
                raise _too_slow()
        return known[1]

    def _old(self, reading: _Reading) -> bool:
        return self._monotonic() - reading[0] > STATE_AGE_MAX_S

    async def _ask(self, asked: _Asked) -> _Reading:
        # Those who ask for the same at once share one query; it goes on if one of them gives up.
        task = self._reading.get(asked)
        if task is None:
            task = asyncio.create_task(self._load(asked))
            self._reading[asked] = task
            task.add_done_callback(lambda _: self._reading.pop(asked))
        return await asyncio.shield(task)

    async def _load(self, asked: _Asked) -> _Reading:
        read_at_s, (_, known) = self._monotonic(), self._read.get(asked, _NEVER)
        place = self._strangers if known is None else nullcontext()
        try:
            async with asyncio.timeout(WAIT_S), place, self._db.read() as tx:
                reading = (read_at_s, await store.state(tx, *asked))
        except TimeoutError:
            raise _too_slow() from None
        self._read.pop(asked, None)
        if len(self._read) >= CAPACITY:
            del self._read[next(iter(self._read))]
        self._read[asked] = reading
        return reading


def _too_slow() -> Refused:
    return Refused(Reason.UNAVAILABLE, "The credential cannot be checked now.", retry_after_s=1)
