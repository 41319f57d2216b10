"""Natural batching: one poisoned item hurts nobody else, a full queue refuses at once, who left is not posted."""

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from ledger_svc.journal.coalescer import DEFAULTS, Coalescer, Limits
from svckit.errors import Reason, Refused


class Runner:
    """Records its batches; `poison` makes a whole batch fail, `gate` holds batches back."""

    def __init__(self, poison: int | None = None) -> None:
        self.batches: list[list[int]] = []
        self.begun = asyncio.Semaphore(0)
        self.gate = asyncio.Event()
        self.gate.set()
        self._poison = poison

    async def run(self, items: Sequence[int]) -> Sequence[int | BaseException]:
        self.begun.release()
        await self.gate.wait()
        if self._poison in items:
            raise ValueError("a batch with the poisoned item")
        self.batches.append(list(items))
        return [item * 10 for item in items]


async def test_what_waits_while_a_batch_runs_is_the_next_batch() -> None:
    runner = Runner()
    lane = Coalescer(runner.run)
    runner.gate.clear()
    tasks = [asyncio.create_task(lane.submit(number)) for number in range(50)]
    await asyncio.sleep(0)
    runner.gate.set()
    assert await asyncio.gather(*tasks) == [number * 10 for number in range(50)]
    assert len(runner.batches) <= DEFAULTS.in_flight_max + 1
    assert sorted(itertools.chain(*runner.batches)) == list(range(50))


async def test_a_poisoned_item_fails_alone() -> None:
    runner = Runner(poison=17)
    lane = Coalescer(runner.run)
    runner.gate.clear()
    tasks = [asyncio.create_task(lane.submit(number)) for number in range(40)]
    await asyncio.sleep(0)
    runner.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [number for number, result in enumerate(results) if isinstance(result, BaseException)] == [17]


async def test_a_full_queue_refuses_at_once() -> None:
    runner = Runner()
    lane = Coalescer(runner.run, Limits(queue_max=5))
    runner.gate.clear()
    running = [asyncio.create_task(lane.submit(number)) for number in range(DEFAULTS.in_flight_max)]
    await runner.begun.acquire()
    waiting = [asyncio.create_task(lane.submit(number)) for number in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(Refused) as caught:
        await lane.submit(99)
    assert caught.value.reason == Reason.UNAVAILABLE
    runner.gate.set()
    await asyncio.gather(*running, *waiting)


async def test_who_left_before_the_batch_is_not_posted() -> None:
    runner = Runner()
    lane = Coalescer(runner.run)
    runner.gate.clear()
    running = [asyncio.create_task(lane.submit(number)) for number in range(DEFAULTS.in_flight_max)]
    await runner.begun.acquire()
    left = asyncio.create_task(lane.submit(99))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    runner.gate.set()
    await asyncio.gather(*running)
    assert 99 not in itertools.chain(*runner.batches)


async def test_lanes_take_turns_in_their_slots() -> None:
    runner = Runner()
    slots = asyncio.Semaphore(2)
    lanes = [Coalescer(runner.run, slots=slots) for _ in range(3)]
    runner.gate.clear()
    tasks = [asyncio.create_task(lane.submit(number)) for number, lane in enumerate(lanes)]
    await runner.begun.acquire()
    await runner.begun.acquire()
    more = [asyncio.create_task(lane.submit(number)) for number, lane in enumerate(lanes, start=3)]
    await asyncio.sleep(0)
    assert runner.begun.locked()
    runner.gate.set()
    assert await asyncio.gather(*tasks, *more) == [number * 10 for number in range(6)]
    # The third waited, and so has what came for it meanwhile in its first batch.
    assert sorted(map(sorted, runner.batches)) == [[0], [1], [2, 5], [3], [4]]


async def test_what_came_together_stays_together_in_its_order_among_the_others() -> None:
    runner = Runner()
    lane = Coalescer(runner.run, Limits(batch_max=4))
    runner.gate.clear()
    running = asyncio.create_task(lane.submit(0))
    await runner.begun.acquire()
    tasks = [asyncio.create_task(lane.submit_all(items)) for items in ([1, 2, 3], [4, 5, 6], [7], [8, 9])]
    await asyncio.sleep(0)
    runner.gate.set()
    assert await asyncio.gather(running, *tasks) == [0, [10, 20, 30], [40, 50, 60], [70], [80, 90]]
    assert runner.batches == [[0], [1, 2, 3, 4, 5, 6], [7, 8, 9]]


async def test_of_what_came_together_a_poisoned_item_fails_alone() -> None:
    lane = Coalescer(Runner(poison=2).run)
    first, poisoned, last = await lane.submit_all([1, 2, 3])
    assert (first, last) == (10, 30)
    assert isinstance(poisoned, ValueError)
