"""The account for servers that refuse root: what it may reach, and how little is opened for it."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from devmesh.account import Account, make_passable, unprivileged

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a server as somebody else")


@pytest.fixture
def account() -> Account:
    found = unprivileged()
    assert found is not None
    return found


def _as(account: Account, *argv: str) -> bool:
    """Whether the account can do it."""
    done = subprocess.run(argv, user=account.uid, group=account.gid, extra_groups=[], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder deep in one that only root may enter, like a home of root."""
    folder = tmp_path / "home" / "clone" / "data"
    folder.mkdir(parents=True)
    for path in (tmp_path / "home", tmp_path / "home" / "clone"):
        path.chmod(0o700)
    return folder


def test_the_way_is_opened_for_passing_and_not_for_listing(
    account: Account, closed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not _as(account, "test", "-d", str(closed))
    account.give(closed)
    assert _as(account, "touch", str(closed / "file"))
    assert not _as(account, "ls", str(closed.parent))
    opened = {str(closed.parent), str(closed.parent.parent)}
    assert opened <= {str(record.args[0]) for record in caplog.records if isinstance(record.args, tuple)}


def test_what_is_open_stays_as_it_is(account: Account, closed: Path, caplog: pytest.LogCaptureFixture) -> None:
    account.give(closed)
    caplog.clear()
    before = [stat.S_IMODE(folder.stat().st_mode) for folder in closed.parents]
    account.open_way_to(closed)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in closed.parents] == before
    assert caplog.records == []


def test_programs_installed_under_a_strict_umask_can_be_run(account: Account, closed: Path) -> None:
    program = closed / "bin" / "program"
    program.parent.mkdir(mode=0o700)
    program.write_text('#!/bin/sh\n. "$(dirname "$0")/../shared"\n')
    program.chmod(0o700)
    (closed / "shared").write_text("exit 0\n")
    (closed / "shared").chmod(0o600)
    assert not account.may_run(program)
    account.open_tree(closed)
    assert account.may_run(program)
    assert _as(account, str(program))


def test_a_passable_folder_is_closed_to_looking(account: Account, tmp_path: Path) -> None:
    account.open_way_to(tmp_path)
    folder = make_passable(tmp_path / "home" / "mesh")
    assert account.may_search(folder)
    assert not _as(account, "ls", str(folder))
