"""An operator at a terminal: programs, partners, plans, clients and keys, by commands."""

import asyncio
import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from devmesh.mesh import Mesh
from identity_svc.tests.test_branding import png
from svckit.clock import new_id
from tests.mesh.conftest import Api

ROOT = Path(__file__).parents[2]


async def typed(mesh: Mesh, *words: str, code: int = 0, service: str = "identity_svc") -> Any:
    """What a service's command prints, read as JSON; its complaint if it ends with another code."""
    env = {**os.environ, **{name: value for name, value in mesh.env.items() if name.startswith("REWARDS_")}}
    argv = [sys.executable, "-m", service, *words]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, env=env, stdout=pipe, stderr=pipe)
    printed, complaint = await process.communicate()
    assert process.returncode == code, complaint.decode()
    return json.loads(printed) if code == 0 else complaint.decode()


# Each command is a Python of its own, which takes a second to start, and more where all else runs as well.
@pytest.mark.timeout(300)
async def test_an_operator_sets_up_a_partner_and_shuts_it_out(
    mesh: Mesh, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    program = f"typed-{new_id()}"
    of_program = ("--program-id", program)
    shape = ("--mode", "sandbox", "--time-zone", "Europe/Berlin", "--currency", "EUR", "--asset", "PTS")
    policy = ("--policy", '{"transferMaxPoints": 500}', "--points-per-unit", "100")
    put = await typed(mesh, "program", "put", *of_program, "--name", "Typed", *shape, *policy)
    assert put["program"]["policy"] == {"transferMaxPoints": "500"}
    logo = tmp_path / "logo.png"
    logo.write_bytes(png())
    look = ("--display-name", "Typed Rewards", "--logo", str(logo), "--primary-colour", "#14532d")
    branded = await typed(mesh, "program", "brand", *of_program, *look)
    assert base64.b64decode(branded["program"]["branding"]["logo"]) == png()
    limits = ("--requests-per-second", "50", "--burst", "60", "--requests-per-day", "1000")
    await typed(mesh, "plan", "put", "--plan-id", "typed", *limits, "--costs", '{"GetBalance": 5}')
    partner = (*of_program, "--partner-id", "north")
    await typed(mesh, "partner", "put", *partner, "--name", "North")
    asked = (*partner, "--name", "x", "--plan-id", "typed", "--scopes", "points:read", "members:write")
    first = await typed(mesh, "key", "create", *asked, "--idempotency-key", "one")
    assert await typed(mesh, "key", "create", *asked, "--idempotency-key", "one") == first
    client = await typed(mesh, "client", "create", *asked)
    rotated = await typed(mesh, "client", "rotate", "--client-id", client["clientId"], "--overlap-s", "60")
    assert rotated["clientSecret"].startswith("cs_")
    assert rotated["clientSecret"] != client["clientSecret"]

    async def balance() -> tuple[int, str]:
        answer = await Api(http, first["apiKey"]).post("GetBalance", {"memberId": "m_none"})
        return answer.code, answer.headers.get("x-ratelimit-remaining", "")

    assert await balance() == (3001, "55")
    listed = await typed(mesh, "credential", "list", *partner)
    assert {one["credentialId"] for one in listed["credentials"]} == {first["keyId"], client["clientId"]}
    await typed(mesh, "partner", "revoke", *partner)
    assert (await balance())[0] == 2001
    await typed(mesh, "partner", "restore", *partner)
    await typed(mesh, "key", "revoke", *of_program, "--credential-id", first["keyId"])
    assert (await balance())[0] == 2001
    programs = (await typed(mesh, "program", "list"))["programs"]
    assert program in {one["programId"] for one in programs}


async def test_a_refusal_is_told_and_is_no_success(mesh: Mesh) -> None:
    assert "NOT_FOUND" in await typed(mesh, "program", "revoke", "--program-id", "nowhere", code=1)
    assert "--mode" in await typed(mesh, "program", "put", "--mode", "imaginary", code=2)
    assert "--program-id" in await typed(mesh, "program", "revoke", code=2)
