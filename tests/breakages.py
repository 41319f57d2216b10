"""Breakages that a test plants: one line each, put into a copy of the code, whose tests must go red."""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("svckit", "identity_svc", "ledger_svc", "catalog_svc", "fulfillment_svc", "gateway", "devmesh")
TORTURE: Final = bool(os.environ.get("REWARDS_TORTURE"))
# How often each breakage is tried: once shows that it is found, more often that this was no luck.
TIMES: Final = 3 if TORTURE else 1
# The machine's cores, and the memory of a server each, bound how many copies are tested at once.
AT_ONCE: Final = 2


class Breakage(NamedTuple):
    """What is taken away: `line`, which is in `file` just once, becomes `broken`; `guard`, a test as pytest names it,
    goes red and `shows` why."""

    name: str
    file: str
    line: str
    broken: str
    guard: str
    shows: str


async def check(tmp_path: Path, packages: Sequence[str], breakages: Sequence[Breakage]) -> None:
    """Asserts that each breakage of `packages` turns its guard red. Without one, the guard is a test like any other.

    The first that is not as it should be ends all the others.
    """
    async with asyncio.TaskGroup() as group:
        for place, breakage in enumerate(breakages):
            for time in range(TIMES):
                copy = _broken(tmp_path / f"{place}-{time}", packages, breakage)
                group.create_task(_turns_red(copy, breakage))


async def _turns_red(copy: Path, breakage: Breakage) -> None:
    found, output = await _failed(copy, breakage.guard)
    assert found == [breakage.guard], f"{breakage.name}: {output}"
    assert breakage.shows in output, f"{breakage.name}: {output}"


def _copied(into: Path, packages: Sequence[str]) -> Path:
    """A copy of the packages that may be broken, with what they need around them."""
    for package in packages:
        # What is compiled may be written just now, by another worker.
        shutil.copytree(ROOT / package, into / package, ignore=shutil.ignore_patterns("__pycache__"))
    for package in {*PACKAGES, "protos"} - set(packages):
        (into / package).symlink_to(ROOT / package)
    for file in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / file, into / file)
    return into


def planted(breakage: Breakage) -> str:
    """The file with the breakage. Fails if the line is not there any more: then the breakage needs another."""
    text = (ROOT / breakage.file).read_text()
    assert text.count(breakage.line) == 1, f"{breakage.file} has no single {breakage.line!r} to break"
    return text.replace(breakage.line, breakage.broken)


def _broken(into: Path, packages: Sequence[str], breakage: Breakage) -> Path:
    (_copied(into, packages) / breakage.file).write_text(planted(breakage))
    return into


async def _failed(copy: Path, guard: str) -> tuple[list[str], str]:
    """The failed tests of the guard in the copy, and what was said. A run that could not be made proves nothing."""
    # A folder of its own: each run of pytest closes the common one to the account that PostgreSQL runs as.
    options = ("-q", "--tb=short", "-p", "no:cacheprovider", "--no-header", f"--basetemp={copy / 'tmp'}")
    async with _places:
        run = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pytest", *options, guard, cwd=copy, stdout=-1, stderr=-2, env=_environment()
        )
        try:
            output = (await run.communicate())[0].decode()
        finally:
            if run.returncode is None:
                # As Ctrl-C does: it takes its servers and their data with it.
                run.send_signal(signal.SIGINT)
                await run.communicate()
    assert run.returncode in {0, 1}, output
    assert "ERROR " not in output, output
    found = re.findall(r"^FAILED (\S+)", output, re.MULTILINE)
    assert bool(found) == bool(run.returncode), output
    return found, output


_places = asyncio.Semaphore(AT_ONCE)


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONDONTWRITEBYTECODE": "1"}
