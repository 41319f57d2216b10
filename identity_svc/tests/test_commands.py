"""The commands as a person or the mesh starts them."""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from identity_svc import commands
from identity_svc.credentials import keys

ROOT = Path(__file__).parents[2]


async def test_create_operator_prints_the_key_alone(fresh_url: Callable[[str], Awaitable[str]], tmp_path: Path) -> None:
    pepper = tmp_path / "pepper"
    pepper.write_bytes(b"p" * 44 + b"\n")
    env = {**os.environ, "REWARDS_DATABASE_URL": await fresh_url("identity_svc"), "REWARDS_PEPPER_FILE": str(pepper)}
    command = [sys.executable, "-m", "identity_svc", "create-operator", "--name", "ops"]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=env, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    assert process.returncode == 0
    (line,) = printed.decode().splitlines()
    assert keys.credential_id(line) is not None
    assert line.startswith("rk_op_")


@pytest.mark.parametrize(
    ("words", "option"),
    [(["program", "put"], "--version"), (["program", "put"], "--branding"), (["partner", "put"], "--revoked-at")],
)
def test_what_only_answers_tell_is_no_option(words: list[str], option: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    commands.add_to(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args([*words, option, "1"])
    assert f"unrecognized arguments: {option}" in capsys.readouterr().err
