"""Natural batching: what arrives while a batch commits forms the next one (design decision 14). No timer."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from svckit.errors import Reason, Refused

Item = TypeVar("Item")
Result = TypeVar("Result")


class Limits(NamedTuple):
    """How many items a batch may have, how many batches may run at once, and how many items may wait.

    One, because a batch costs more than an item does: a second one in flight halves the batches and takes the same
    accounts' locks. A batch_max of 1 switches batching off.
    """

    batch_max: int = 256
    in_flight_max: int = 1
    queue_max: int = 4_000


# A call takes so many turns of the loop from its arrival to its place in the queue.
QUIET_TURNS: Final = 10
DEFAULTS: Final = Limits()


class Coalescer(Generic[Item, Result]):
    """Runs items in batches, in the order of their arrival. `run` gives a result or an exception for each.

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
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._running: set[asyncio.Task[None] | None] = set()

    @property
    def idle(self) -> bool:
        """True if nothing waits and nothing runs."""
        return not self._waiting and not self._running

    async def submit(self, item: Item) -> Result:
        """The item's result. Raises UNAVAILABLE at once if the queue is full, and what `run` gave for it.

        A caller who goes away before the item's batch starts takes it along: nothing is written for it.
        """
        if len(self._waiting) >= self._limits.queue_max:
            raise Refused(Reason.UNAVAILABLE, "Too many postings at once.", retry_after_s=1)
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
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
                results = await self._halving([item for item, _ in batch]) if batch else []
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    async def _next(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        await self._gather()
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        while self._waiting and len(batch) < self._limits.batch_max:
            item, future = self._waiting.popleft()
            if not future.done():
                batch.append((item, future))
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
