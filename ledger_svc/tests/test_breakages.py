"""A guard that no test misses is none: each breakage is one line, put into a copy of the code, whose tests go red."""

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parents[2]
CODE: Final = ("ledger_svc", "svckit")
AROUND: Final = ("devmesh", "gateway", "protos")
GUARDS: Final = "ledger_svc/tests/test_guards.py"
# How often each breakage is tried: once shows that it is found, more often that this was no luck.
TIMES: Final = 10 if os.environ.get("REWARDS_TORTURE") else 1
# The machine's cores, and the memory of a server each, bound how many copies are tested at once.
AT_ONCE: Final = 2


class Breakage(NamedTuple):
    """What is taken away: `line`, which is in `file` just once, becomes `broken`; `guard` goes red and `shows` why."""

    name: str
    file: str
    line: str
    broken: str
    guard: str
    shows: str


BREAKAGES: Final = (
    Breakage(
        "no row lock on the balance",
        "ledger_svc/journal/load_store.py",
        " FOR NO KEY UPDATE OF a",
        "",
        "test_a_balance_is_decided_under_its_row_lock",
        "assert 0 == 1",
    ),
    Breakage(
        "no unique key on idempotency",
        "ledger_svc/migrations/versions/0001_journal.py",
        ",\n    PRIMARY KEY (program_id, operation, key)",
        "",
        "test_a_key_is_taken_with_its_effect_or_not_at_all",
        "assert 0 == 1",
    ),
    Breakage(
        "check, then insert in another transaction",
        "ledger_svc/journal/save_store.py",
        "    writer.write(SAVE_KEYS, kept, program_id)\n",
        "    await writer.send(connection); await connection.commit(); writer = Writer(); "
        "writer.write(SAVE_KEYS, kept, program_id)\n",
        "test_a_key_is_taken_with_its_effect_or_not_at_all",
        "assert [0, 0] == [0, 100]",
    ),
    Breakage(
        "lots in the wrong order",
        "ledger_svc/journal/load_store.py",
        "ORDER BY expires_at, earned_at, lot_id",
        "ORDER BY earned_at, expires_at, lot_id",
        "test_what_expires_first_is_drawn_first",
        "assert [10, 10, 10] == [5, 10, 10]",
    ),
    Breakage(
        "commits that do not wait for the disk",
        "svckit/db.py",
        "-c synchronous_commit=on",
        "-c synchronous_commit=off",
        "test_what_was_acknowledged_survives_a_crash_at_once",
        "assert [] == [('1',), ('2',), ('3',)]",
    ),
    Breakage(
        "locks in the order of the request",
        "ledger_svc/journal/load_store.py",
        "    columns = (*_columns(",
        "    for key in [key for want in wants for key in want.accounts]: await connection.execute("
        "'SELECT 1 FROM accounts WHERE program_id = %s AND owner = %s FOR UPDATE', (key.program_id, key.owner))\n"
        "    columns = (*_columns(",
        "test_accounts_are_locked_in_one_order_whatever_the_request",
        "assert 1 == 0",
    ),
)


def copied(into: Path) -> Path:
    """A copy of the code that may be broken, with what it needs around it."""
    for package in CODE:
        shutil.copytree(ROOT / package, into / package, ignore=shutil.ignore_patterns("__pycache__"))
    for package in AROUND:
        (into / package).symlink_to(ROOT / package)
    for file in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / file, into / file)
    return into


def broken(into: Path, breakage: Breakage) -> Path:
    """A copy with the breakage. Fails if the line is not there any more: then the breakage needs another."""
    target = copied(into) / breakage.file
    text = target.read_text()
    assert text.count(breakage.line) == 1, f"{breakage.file} has no single {breakage.line!r} to break"
    target.write_text(text.replace(breakage.line, breakage.broken))
    return into


async def failed(copy: Path, guard: str = "") -> tuple[list[str], str]:
    """The guards that fail in the copy, and what was said of it. A run that could not be made is no failure."""
    ids = f"{GUARDS}::{guard}" if guard else GUARDS
    options = ("-q", "--tb=short", "-p", "no:cacheprovider", "--no-header")
    async with _places:
        run = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pytest", *options, ids, cwd=copy, stdout=-1, stderr=-2, env=_environment()
        )
        output = (await run.communicate())[0].decode()
    assert run.returncode in {0, 1}, output
    assert "ERROR " not in output, output
    found = re.findall(rf"^FAILED {re.escape(GUARDS)}::(\w+)", output, re.MULTILINE)
    assert bool(found) == bool(run.returncode), output
    return found, output


_places = asyncio.Semaphore(AT_ONCE)


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.mark.timeout(300 * TIMES)
async def test_every_breakage_is_found_and_nothing_else(tmp_path: Path) -> None:
    whole = asyncio.create_task(failed(copied(tmp_path / "whole")))
    tries = [
        (breakage, asyncio.create_task(failed(broken(tmp_path / f"{place}-{time}", breakage), breakage.guard)))
        for place, breakage in enumerate(BREAKAGES)
        for time in range(TIMES)
    ]
    assert (await whole)[0] == []
    for breakage, run in tries:
        found, output = await run
        assert found == [breakage.guard], breakage.name
        assert breakage.shows in output, output
