"""Natural batching: what arrives while a batch commits forms the next one (design decision 14). No timer."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from svckit.errors import Reason, Refused

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH_MAX: Final = 256
QUEUE_MAX: Final = 4_000
# While one batch waits for its commit the next is computed.
IN_FLIGHT_MAX: Final = 2


class Coalescer(Generic[Item, Result]):
    """Runs items in batches, in the order of their arrival. `run` gives a result or an exception for each.

    A batch that fails as a whole is halved until the item at fault stands alone: only its caller sees it.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Result | BaseException]]],
        *,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self._run = run
        self._queue_max = queue_max
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """True if nothing waits and nothing runs."""
        return not self._waiting and not self._running

    async def submit(self, item: Item) -> Result:
        """The item's result. Raises UNAVAILABLE at once if the queue is full, and what `run` gave for it.

        A caller who goes away before the item's batch starts takes it along: nothing is written for it.
        """
        if len(self._waiting) >= self._queue_max:
            raise Refused(Reason.UNAVAILABLE, "Too many postings at once.", retry_after_s=1)
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if len(self._running) < IN_FLIGHT_MAX:
            task = asyncio.create_task(self._drain())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await future

    async def _drain(self) -> None:
        while batch := self._next():
            results = await self._halving([item for item, _ in batch])
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _next(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        while self._waiting and len(batch) < BATCH_MAX:
            item, future = self._waiting.popleft()
            if not future.done():
                batch.append((item, future))
        return batch

    async def _again(self, items: Sequence[Item]) -> Result | BaseException:
        # It may just have lost a race against a twin of another process, whom it sees now.
        try:
            return (await self._run(items))[0]
        except Exception as error:  # noqa: BLE001 - its caller gets it
            return error

    async def _halving(self, items: Sequence[Item]) -> Sequence[Result | BaseException]:
        try:
            return await self._run(items)
        except Refused as refusal:
            # The database is down or too busy: smaller batches would only ask it more often.
            return [refusal] * len(items)
        except Exception:  # noqa: BLE001 - each caller gets what is wrong with its own item
            if len(items) == 1:
                return [await self._again(items)]
            middle = len(items) // 2
            return [*await self._halving(items[:middle]), *await self._halving(items[middle:])]
