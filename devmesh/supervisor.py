"""Keeps the parts of the mesh running: starts them, reports who died and starts it again, stops all in order."""

import asyncio
import itertools
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devmesh.process import Child, Part, ProcessFailedError, describe_exit, until_ready

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 10.0
STEADY_S = 20.0
START_ATTEMPTS = 2

_ENDING = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT})


@dataclass(frozen=True)
class Death:
    """A process that ended, or never came to serve, unasked. It is started again after `restart_in_s`."""

    failure: ProcessFailedError
    pid: int | None
    log: Path
    restart_in_s: float

    def __str__(self) -> str:
        who = f"{self.failure.name} (pid {self.pid})" if self.pid else self.failure.name
        heading = f"{who} {self.failure.reason}; starting it again in {self.restart_in_s:g} s"
        if not self.failure.last_lines:
            return f"{heading}. It logged nothing to {self.log}"
        return "\n    | ".join((f"{heading}. Last lines of {self.log}:", *self.failure.last_lines))


Report = Callable[[Death], None]


def report_on_stderr(death: Death) -> None:
    """The report a person sees."""
    sys.stderr.write(f"{death}\n")
    sys.stderr.flush()


class _Kept:
    """A part that is being kept running: its present process, and whether that serves."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.child: Child | None = None
        self.serves = asyncio.Event()
        self.first_start: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None


class Supervisor:
    """Belongs to one event loop. `run` is the folder where `<name>.pid` names the present process of each part."""

    def __init__(self, run: Path, report: Report = report_on_stderr) -> None:
        self._run, self._report = run, report
        self._kept: dict[str, _Kept] = {}

    async def start(self, part: Part) -> None:
        """Start a part and keep it running from now on. Returns when it serves for the first time.

        Raises ProcessFailedError when it has failed to come up START_ATTEMPTS times: a fault to read, not to retry.
        """
        kept = self._kept[part.name] = _Kept(part)
        kept.task = asyncio.create_task(self._keep(kept), name=f"keep-{part.name}")
        await asyncio.shield(kept.first_start)

    async def ready(self, name: str | None = None, within_s: float = 30.0) -> None:
        """Wait until the named part serves, or all of them. Raises ProcessFailedError for the one that does not."""
        deadline_s = asyncio.get_running_loop().time() + within_s
        for kept in [self._kept[name]] if name else list(self._kept.values()):
            try:
                async with asyncio.timeout_at(deadline_s):
                    await kept.serves.wait()
            except TimeoutError:
                lines = kept.child.last_lines() if kept.child else []
                raise ProcessFailedError(kept.part.name, f"was not ready within {within_s:g} s", lines) from None

    def pid(self, name: str) -> int:
        """The process id of the part's present process. KeyError for a part that was never started."""
        child = self._kept[name].child
        if child is None:
            raise KeyError(name)
        return child.pid

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send the part's process a signal. After one that ends it, `ready` waits for the process that follows."""
        kept = self._kept[name]
        if kept.child is None:
            raise KeyError(name)
        if number in _ENDING:
            kept.serves.clear()
        kept.child.send(number)

    async def stop(self) -> None:
        """Stop everything, the highest tier first, all of a tier together. When this returns no process is left."""
        tasks = [kept.task for kept in self._kept.values() if kept.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for tier in sorted({kept.part.tier for kept in self._kept.values()}, reverse=True):
            await asyncio.gather(*(self._end(kept) for kept in self._kept.values() if kept.part.tier == tier))
        self._kept.clear()

    async def _end(self, kept: _Kept) -> None:
        if kept.child:
            await kept.child.stop(kept.part.stop_signal, kept.part.stop_s)
        self._pid_file(kept.part).unlink(missing_ok=True)

    async def _keep(self, kept: _Kept) -> None:
        now_s = asyncio.get_running_loop().time
        delay_s = FIRST_DELAY_S
        for attempt in itertools.count(1):
            started_s = now_s()
            failure = await self._live_once(kept)
            if not kept.first_start.done() and attempt == START_ATTEMPTS:
                kept.first_start.set_exception(failure)
                return
            if now_s() - started_s > STEADY_S:
                delay_s = FIRST_DELAY_S
            self._report(Death(failure, kept.child.pid if kept.child else None, kept.part.command.log, delay_s))
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, LONGEST_DELAY_S)

    async def _live_once(self, kept: _Kept) -> ProcessFailedError:
        """One process of the part, from its start to its end; how it failed."""
        kept.child = None
        try:
            child = kept.child = Child(kept.part.command)
        except OSError as error:
            return ProcessFailedError(kept.part.name, f"could not be started: {error}", [])
        self._pid_file(kept.part).write_text(f"{child.pid}\n")
        try:
            await until_ready(child, kept.part)
            kept.serves.set()
            if not kept.first_start.done():
                kept.first_start.set_result(None)
            return child.failure(describe_exit(await child.exited()))
        except ProcessFailedError as failure:
            # One that is alive but never came to serve must be gone before the next is started.
            await child.stop(kept.part.stop_signal, kept.part.stop_s)
            return failure
        finally:
            kept.serves.clear()

    def _pid_file(self, part: Part) -> Path:
        return self._run / f"{part.name}.pid"
