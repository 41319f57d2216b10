"""Natural batching: what arrives while a batch commits forms the next one (design decision 14). No timer."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final, Generic, NamedTuple, TypeVar

from svckit.errors import Reason, Refused

Item = TypeVar("Item")
Result = TypeVar("Result")


class Limits(NamedTuple):
    """How many items a batch may have, how many batches may run at once, and how many calls may wait.

    One, because a batch costs more than an item does: a second one in flight halves the batches and takes the same
    accounts' locks. A batch_max of 1 switches batching off.
    """

    batch_max: int = 256
    in_flight_max: int = 1
    queue_max: int = 4_000


# What came together, and who waits for its results.
_Waiting = tuple[Sequence[Item], "asyncio.Future[Sequence[Result | BaseException]]"]
# A call takes so many turns of the loop from its arrival to its place in the queue.
QUIET_TURNS: Final = 10
DEFAULTS: Final = Limits()


class Coalescer(Generic[Item, Result]):
    """Runs items in batches, in the order of their arrival; what came together is of one batch, which may have more
    than batch_max for it. `run` gives a result or an exception for each.

    A batch that fails as a whole is halved until the item at fault stands alone: only its caller sees it. A batch runs
    in one of the `slots`, which lanes may share: who waits for one gathers more meanwhile, and they go in turn.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Result | BaseException]]],
        limits: Limits = DEFAULTS,
        slots: asyncio.Semaphore | None = None,
    ) -> None:
        self._run = run
        self._limits = limits
        self._slots = slots or asyncio.Semaphore(limits.in_flight_max)
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._running: set[asyncio.Task[None] | None] = set()

    @property
    def idle(self) -> bool:
        """True if nothing waits and nothing runs."""
        return not self._waiting and not self._running

    async def submit(self, item: Item) -> Result:
        """The item's result. Raises UNAVAILABLE at once if the queue is full, and what `run` gave for it.

        A caller who goes away before the item's batch starts takes it along: nothing is written for it.
        """
        (result,) = await self.submit_all([item])
        if isinstance(result, BaseException):
            raise result
        return result

    async def submit_all(self, items: Sequence[Item]) -> Sequence[Result | BaseException]:
        """As `submit`, of items that come together, with a result or an exception for each."""
        if len(self._waiting) >= self._limits.queue_max:
            raise Refused(Reason.UNAVAILABLE, "Too many postings at once.", retry_after_s=1)
        future: asyncio.Future[Sequence[Result | BaseException]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, future))
        if len(self._running) < self._limits.in_flight_max:
            self._running.add(asyncio.create_task(self._drain()))
        return await future

    async def _drain(self) -> None:
        try:
            await self._drain_all()
        finally:
            # At once: an item that comes before a callback ran would wait for a lane that has ended.
            self._running.discard(asyncio.current_task())

    async def _drain_all(self) -> None:
        while self._waiting:
            async with self._slots:
                batch = await self._next()
                results = iter(await self._halving([item for items, _ in batch for item in items]) if batch else [])
            for items, future in batch:
                own = [*islice(results, len(items))]
                if not future.done():
                    future.set_result(own)

    async def _next(self) -> list["_Waiting[Item, Result]"]:
        await self._gather()
        batch: list[_Waiting[Item, Result]] = []
        room = self._limits.batch_max
        while self._waiting and room > 0:
            items, future = self._waiting.popleft()
            if not future.done():
                batch.append((items, future))
                room -= len(items)
        return batch

    async def _gather(self) -> None:
        """Lets in the calls that have arrived and are on their way here. It waits for nothing that is still to come."""
        seen, quiet = 0, 0
        while quiet < QUIET_TURNS and len(self._waiting) < self._limits.batch_max:
            quiet = quiet + 1 if len(self._waiting) == seen else 0
            seen = len(self._waiting)
            await asyncio.sleep(0)

    async def _halving(self, items: Sequence[Item]) -> Sequence[Result | BaseException]:
        try:
            return await self._run(items)
        except Refused as refusal:
            # The database is down or too busy: smaller batches would only ask it more often.
            return [refusal] * len(items)
        except Exception as error:  # noqa: BLE001 - each caller gets what is wrong with its own item
            if len(items) == 1:
                return [error]
            middle = len(items) // 2
            return [*await self._halving(items[:middle]), *await self._halving(items[middle:])]
