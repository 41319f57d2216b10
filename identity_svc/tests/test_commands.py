"""The commands as a person or the mesh starts them."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

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
