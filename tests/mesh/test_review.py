"""Codes shown over REST, and an operator at the review desk, at a terminal."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from devmesh.mailbox import messages
from devmesh.mesh import Mesh
from svckit.clock import new_id
from tests.mesh.conftest import Api, until
from tests.mesh.test_orders import ordered
from tests.mesh.test_redemptions import ended, fault, provider_url, redeem

ROOT = Path(__file__).parents[2]


async def typed(mesh: Mesh, verb: str, *words: str, code: int = 0) -> Any:
    """What a command prints, read as JSON; its complaint if it ends with another code."""
    env = {**os.environ, **{name: value for name, value in mesh.env.items() if name.startswith("REWARDS_")}}
    argv = [sys.executable, "-m", "fulfillment_svc", "review", verb, *words]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, env=env, stdout=pipe, stderr=pipe)
    printed, complaint = await process.communicate()
    assert process.returncode == code, complaint.decode()
    return json.loads(printed) if code == 0 else complaint.decode()


async def test_codes_are_shown_in_full_and_kept_by_nobody(api: Api, mesh: Mesh) -> None:
    member_id = await api.member(points=5_000)
    made = await redeem(api, member_id)
    done = await ended(api, made["redemptionId"])
    journal = [json.loads(line) for line in mesh.layout.provider.read_text().splitlines()]
    (order,) = [entry for entry in journal if entry["reference"] == made["redemptionId"]]
    shown = await api.post(f"redemptions/{made['redemptionId']}:reveal", {})
    assert shown.result == {"items": [{"number": 1, "code": order["items"][0]["code"]}]}
    assert shown.headers["cache-control"] == "no-store"
    assert done["items"][0]["codeMasked"] == f"****{order['items'][0]['code'][-4:]}"
    answers = [await api.post(f"redemptions/{made['redemptionId']}:reveal", {}) for _ in range(10)]
    assert [answer.status for answer in answers] == [200] * 9 + [429]
    assert (answers[-1].code, int(answers[-1].headers["retry-after"]) > 3_000) == (2004, True)


@pytest.mark.timeout(300)
async def test_an_operator_gives_an_unknown_order_back(api: Api, mesh: Mesh) -> None:
    member_id = await api.member(points=5_000)
    reward = (await api.call("GET", "/v1/rewards/copperleaf-coffee-us")).result
    await fault(mesh, fault="unavailable", brand=reward["brand"])
    made = await redeem(api, member_id)
    named = ("--redemption-id", made["redemptionId"])

    async def waiting() -> dict[str, Any] | None:
        listed = await typed(mesh, "list")
        return next((one for one in listed.get("reviews", ()) if one["redemptionId"] == made["redemptionId"]), None)

    one = await until(waiting)
    assert (one["kind"], one["points"], one["actions"]) == ("UNKNOWN_OUTCOME", "400", ["QUERY", "ISSUE", "REFUND"])
    of_program = ("--program-id", one["programId"], *named)
    assert "evidence" in await typed(mesh, "refund", *of_program, code=2)
    evidence = ("--evidence", "the provider's portal shows no such order", "--idempotency-key", made["redemptionId"])

    async def refunded() -> bool:
        try:
            await typed(mesh, "refund", *of_program, *evidence)
        except AssertionError:
            return False  # a worker has it just now
        return True

    await until(refunded)
    async with aiohttp.request("DELETE", f"{provider_url(mesh)}/faults"):
        pass
    done = await ended(api, made["redemptionId"])
    assert (done["status"], done["failureReason"]) == ("FAILED", "REFUNDED_BY_OPERATOR")
    assert (await api.balance(member_id))["available"] == 5_000
    shown = await typed(mesh, "show", *of_program)
    acted = [entry for entry in shown["history"] if entry.get("action")]
    assert [(entry["action"], entry["evidence"]) for entry in acted] == [("REFUND", evidence[1])]
    assert acted[0]["actor"]


@pytest.mark.timeout(300)
async def test_an_operator_corrects_the_address_of_an_order(api: Api, mesh: Mesh) -> None:
    order = await ordered(api, delivery="EMAIL", recipientEmail=f"{new_id().hex}@mail.invalid")

    async def waiting() -> dict[str, Any] | None:
        listed = await typed(mesh, "list")
        return next((one for one in listed.get("reviews", ()) if one.get("orderId") == order["orderId"]), None)

    one = await until(waiting)
    assert (one["state"], one["reason"], one["valueMinor"]) == ("INVITING", "MAIL_REFUSED", "2000")
    seen = (await api.call("GET", f"/v1/orders/{order['orderId']}")).result
    assert (seen["status"], seen["failureReason"]) == ("REVIEW", "MAIL_REFUSED")
    to, named = f"{new_id().hex}@example.com", ("--program-id", one["programId"], "--order-id", order["orderId"])
    assert "--email" in await typed(mesh, "readdress", *named, "--evidence", "ticket 7", code=2)
    await typed(mesh, "readdress", *named, "--email", to, "--evidence", "the partner has said so, ticket 7")

    async def arrived() -> bool:
        return any(order["redemptionUrl"] in str(mail.get_body(("plain",))) for mail in messages(mesh.layout.mail, to))

    await until(arrived)
    shown = await typed(mesh, "show", *named)
    acted = [entry for entry in shown["history"] if entry.get("action")]
    assert [(entry["action"], bool(entry["actor"])) for entry in acted] == [("READDRESS", True)]
    assert to not in json.dumps(shown), "an address is personal data"
