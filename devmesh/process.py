"""One child process: its start, the wait until it serves, its log, its last lines, its stop."""

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import IO

from devmesh.account import Account
from devmesh.leash import kill_group, leash

Probe = Callable[[], Awaitable[bool]]
"""Answers whether the process serves now. "Not yet" is False and never an exception."""

# A child that is to be another user is forked, and what gRPC would do in it crashes where its threads are at work. gRPC
# reads this when it is first used, so it is said here, before anybody can.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

LOG_MAX_BYTES = 16 * 1024 * 1024
_PROBE_INTERVAL_S = 0.03
_LAST_LINES = 20
_LAST_BYTES = 16 * 1024


class Tier(IntEnum):
    """The order of stopping: the highest first, all of a tier together."""

    STORE = 0
    OUTSIDE = 1  # what stands in for the world: mailbox, provider, trace receiver
    SERVICE = 2
    EDGE = 3


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run, and where its output goes. `env` is the whole environment, nothing is inherited."""

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = Path("/")
    account: Account | None = None


@dataclass(frozen=True, kw_only=True)
class Part:
    """A server of the mesh. `start_s` bounds the wait for `ready`, `stop_s` that after `stop_signal` for its end."""

    command: Command
    ready: Probe
    tier: Tier = Tier.SERVICE
    stop_signal: signal.Signals = signal.SIGTERM
    start_s: float = 90.0
    stop_s: float = 15.0

    @property
    def name(self) -> str:
        """Under which it is reported, logged and killed."""
        return self.command.name


class ProcessFailedError(Exception):
    """A process ended, or never came to serve. `name`, `reason` and its `last_lines` say all there is to know."""

    def __init__(self, name: str, reason: str, last_lines: Sequence[str]) -> None:
        self.name, self.reason, self.last_lines = name, reason, tuple(last_lines)
        super().__init__("\n    | ".join((f"{name} {reason}", *last_lines)))


class Child:
    """A started process. It leads a group of its own, so Ctrl-C at the terminal reaches only who stops it in order."""

    def __init__(self, command: Command, stdout: IO[bytes] | None = None) -> None:
        self.command = command
        account = command.account
        with _open_log(command.log) as log:
            self._log_starts = log.tell()
            self._popen = subprocess.Popen(  # noqa: S603 - what runs is decided in this package
                command.argv,
                env=command.env,
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=stdout or log,
                stderr=log,
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        leash().hold(self.pid)
        # A thread reaps, rather than the event loop's child watcher: uvloop's cannot start a process as another user,
        # and a fixture may start a process in one loop and stop it in another.
        self._exit: Future[int] = Future()
        self._exit.set_running_or_notify_cancel()
        threading.Thread(target=self._reap, name=f"reap-{command.name}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id, which is its group's too."""
        return self._popen.pid

    async def exited(self) -> int:
        """Wait for the end; the exit code, negative for a signal as in `subprocess`."""
        return await asyncio.wrap_future(self._exit)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process; nothing happens when it has ended."""
        if not self._exit.done():
            self._popen.send_signal(number)

    async def stop(self, number: signal.Signals = signal.SIGTERM, within_s: float = 15.0) -> None:
        """Ask the process to end, and kill its group when it has not in time. Returns when it is gone."""
        self.send(number)
        try:
            await asyncio.wait_for(self.exited(), within_s)
        except TimeoutError:
            kill_group(self.pid)
            await self.exited()

    def failure(self, reason: str) -> ProcessFailedError:
        """The error that names this process and carries its last lines."""
        return ProcessFailedError(self.command.name, reason, self.last_lines())

    def last_lines(self, count: int = _LAST_LINES) -> list[str]:
        """The last lines this process has logged; none of an earlier process with the same log file."""
        with contextlib.suppress(FileNotFoundError), self.command.log.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_starts, end - _LAST_BYTES))
            return log.read().decode(errors="replace").splitlines()[-count:]
        return []

    def _reap(self) -> None:
        # The leader's number stays taken until it is waited for. So first, while it is a zombie, take its group off the
        # leash and end what it left behind: an orphaned worker would hold the port of the process started next.
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        leash().release(self.pid)
        kill_group(self.pid)
        self._exit.set_result(self._popen.wait())


async def until_ready(child: Child, part: Part) -> None:
    """Wait until the process serves. Raises ProcessFailedError when it ends first or needs more than `part.start_s`."""
    exited = asyncio.ensure_future(child.exited())
    serves = asyncio.ensure_future(_until_serving(part.ready))
    try:
        await asyncio.wait({exited, serves}, timeout=part.start_s, return_when=asyncio.FIRST_COMPLETED)
        if exited.done():
            raise child.failure(describe_exit(exited.result()))
        if not serves.done():
            raise child.failure(f"was not ready within {part.start_s:g} s")
        serves.result()
    finally:
        exited.cancel()
        serves.cancel()


async def run_once(command: Command) -> str:
    """Run a command to its end and return its stdout, which is not logged: it may be a secret. Stderr is logged.

    Raises ProcessFailedError unless the command ends with 0. Cancelling kills it.
    """
    with tempfile.TemporaryFile() as stdout:
        child = Child(command, stdout)
        try:
            code = await child.exited()
        finally:
            child.send(signal.SIGKILL)
        if code != 0:
            raise child.failure(describe_exit(code))
        stdout.seek(0)
        return stdout.read().decode()


def describe_exit(code: int) -> str:
    """An exit code in words: "was killed by SIGKILL", "ended with code 3"."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


async def _until_serving(ready: Probe) -> None:
    while not await ready():  # noqa: ASYNC110 - another process has no event to await
        await asyncio.sleep(_PROBE_INTERVAL_S)


@contextlib.contextmanager
def _open_log(path: Path) -> Iterator[IO[bytes]]:
    """The log opened for appending, moved aside first when it has grown large, so a home does not grow for ever."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_MAX_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as log:
        yield log
