"""Migrations run when they have changed, and only then."""

import sys
from pathlib import Path

import pytest

from devmesh.migrations import fingerprint, migrate
from devmesh.process import Command, ProcessFailedError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations" / "versions"
    folder.mkdir(parents=True)
    (folder / "0001_first.py").write_text("CREATE")
    return folder.parent


def _command(tmp_path: Path, program: str = "open('ran', 'a').write('x')") -> Command:
    argv = [sys.executable, "-I", "-S", "-c", program]
    return Command(name="migrate", argv=argv, log=tmp_path / "log", cwd=tmp_path)


async def test_they_run_once_until_they_change(tmp_path: Path, folder: Path) -> None:
    remembered = tmp_path / "remembered"
    assert await migrate(_command(tmp_path), folder, remembered) is True
    assert await migrate(_command(tmp_path), folder, remembered) is False
    (folder / "versions" / "0002_second.py").write_text("ALTER")
    assert await migrate(_command(tmp_path), folder, remembered) is True
    assert (tmp_path / "ran").read_text() == "xx"


async def test_a_failed_one_runs_again(tmp_path: Path, folder: Path) -> None:
    remembered = tmp_path / "remembered"
    with pytest.raises(ProcessFailedError, match="lock timeout"):
        await migrate(_command(tmp_path, "raise SystemExit('lock timeout')"), folder, remembered)
    assert await migrate(_command(tmp_path), folder, remembered) is True


async def test_the_fingerprint_is_of_names_and_contents_and_of_no_cache(folder: Path) -> None:
    first = fingerprint(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "env.pyc").write_text("compiled")
    assert fingerprint(folder) == first
    (folder / "versions" / "0001_first.py").rename(folder / "versions" / "0001_other.py")
    renamed = fingerprint(folder)
    (folder / "versions" / "0001_other.py").write_text("DROP")
    assert len({first, renamed, fingerprint(folder)}) == 3
