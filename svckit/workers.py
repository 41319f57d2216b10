"""Background jobs of a process: a step that is run again and again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from svckit import telemetry

MAX_BACKOFF_S: Final = 10.0

log = logging.getLogger(__name__)


class Worker:
    """Runs `step` for as long as it finds work, then waits for `wake` or `interval_s`.

    A step returns how much it did. One that fails is logged and tried again with growing pauses: a
    dependency that is down must not end the job.
    """

    def __init__(self, name: str, step: Callable[[], Awaitable[int]], interval_s: float = 1.0) -> None:
        self.name = name
        self._step = step
        self._interval_s = interval_s
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Says that there is work now. A hint only: without it the work waits for the interval."""
        self._woken.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        failures = 0
        while True:
            self._woken.clear()
            pause_s = self._interval_s
            try:
                if await self._step() > 0:
                    continue
                failures = 0
            except Exception:
                failures += 1
                pause_s = min(MAX_BACKOFF_S, self._interval_s * 2**failures)
                telemetry.worker_failures.labels(self.name).inc()
                log.exception("worker step failed", extra={"fields": {"worker": self.name}})
            await self._pause(pause_s)

    async def _pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._woken.wait()
        except TimeoutError:
            return
