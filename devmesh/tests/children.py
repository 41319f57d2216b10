"""Tiny real processes to supervise, and what is waited for around them."""

import asyncio
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

from devmesh.process import Command, Part, Probe, Tier

PYTHON = sys.executable
_DEADLINE_S = 20.0


def command(folder: Path, name: str, program: str) -> Command:
    """A Python program, started without site packages so that it is there at once."""
    return Command(name=name, argv=[PYTHON, "-I", "-S", "-c", program], log=folder / f"{name}.log", cwd=folder)


def part(
    folder: Path,
    name: str,
    program: str,
    *,
    tier: Tier = Tier.SERVICE,
    start_s: float = 20.0,
    stop_s: float = 20.0,
) -> Part:
    """A program as a part of a mesh, which serves when it has written the file `<name>.up`."""
    return Part(
        command=command(folder, name, program),
        ready=_exists(folder / f"{name}.up"),
        tier=tier,
        start_s=start_s,
        stop_s=stop_s,
    )


def serving(name: str, first: str = "pass") -> str:
    """A program that says that it serves, after what it does first, and goes on until it is told to stop."""
    return f"import signal; {first}\nopen('{name}.up', 'w').close()\nsignal.pause()"


def _exists(path: Path) -> Probe:
    return functools.partial(asyncio.to_thread, path.exists)


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; an assertion fails when it never does."""
    deadline_s = time.monotonic() + _DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "this never came true"
        await asyncio.sleep(0.01)


def read_pid(path: Path) -> int | None:
    """The pid in a file, None while it is not written (whole)."""
    text = path.read_text() if path.exists() else ""
    return int(text) if text.endswith("\n") else None
