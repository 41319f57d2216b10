"""Kills what this process has started if this process dies without stopping it.

A supervisor that is killed with -9, or a test run ended by its time limit, runs no clean-up. So a tiny process holds
the other end of a pipe: when the pipe closes, it kills every process group still on the leash. Killing is the right end
there, because every part of the mesh survives a power cut by design. The process needs nothing but the standard library
and is started without site packages, so it costs some 15 ms once.
"""

import atexit
import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable


class Leash:
    """A process group is held from its start until its leader is reaped, so a number used again is never hit."""

    def __init__(self) -> None:
        # Its own session: Ctrl-C at the terminal must reach only the supervisor, which stops everything in order.
        theirs, ours = os.pipe()
        argv = [sys.executable, "-I", "-S", __file__]
        self._holder = subprocess.Popen(argv, stdin=theirs, start_new_session=True)  # noqa: S603 - it is this file
        os.close(theirs)
        self._pipe = os.fdopen(ours, "wb", buffering=0)
        self._lock = threading.Lock()

    def hold(self, group: int) -> None:
        """Kill this process group when this process dies."""
        self._tell(f"hold {group}\n")

    def release(self, group: int) -> None:
        """Let go of a group; before its leader is reaped, or its number may already be somebody else's."""
        self._tell(f"release {group}\n")

    def close(self) -> None:
        """Let go: what is still held is killed now."""
        self._pipe.close()
        self._holder.wait()

    def _tell(self, line: str) -> None:
        # A holder that somebody killed is no reason to stop; the mesh only loses this safety net.
        with self._lock, contextlib.suppress(BrokenPipeError, ValueError):
            self._pipe.write(line.encode())


@functools.cache
def leash() -> Leash:
    """The one leash of this process."""
    held = Leash()
    atexit.register(held.close)
    return held


def kill_group(group: int) -> None:
    """Kill every process of the group, if there is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _follow(lines: Iterable[str]) -> None:
    held: set[int] = set()
    for line in lines:
        verb, number = line.split()
        (held.add if verb == "hold" else held.discard)(int(number))
    for group in held:
        kill_group(group)


if __name__ == "__main__":
    _follow(sys.stdin)
