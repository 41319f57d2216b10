"""kill -9 of any process while redemptions run: no value is lost or doubled, and every redemption ends."""

import asyncio
import json
from typing import Any, LiteralString

import aiohttp
import psycopg
import pytest

from devmesh.demo.partner import Answer
from devmesh.mesh import Mesh
from svckit.clock import new_id
from tests.mesh.conftest import Api, until

COST = 400
POINTS = COST * 12
ENDED = {"FULFILLED", "FAILED"}
# Reservations of prepaid funding; members' holds are other tests' own.
_HELD = """
SELECT h.hold_id FROM holds h JOIN accounts a USING (program_id, account_id) WHERE h.state = 1 AND a.owner_kind = 2"""
# Other tests' orders, which keep their value until somebody claims it.
_OF_ORDERS = "SELECT hold_id FROM orders WHERE hold_id IS NOT NULL"
RECIPIENT = {"email": "kim@example.com", "name": "Kim", "country": "US"}


async def retried(api: Api, operation: str, body: dict[str, Any], key: str) -> Answer:
    """The final answer to a call that is repeated under its key until it is definite, as a client would."""

    async def definite() -> Answer | None:
        try:
            answer = await api.post(operation, body, key=key)
        except aiohttp.ClientError:
            return None
        return answer if answer.status < 500 and answer.code not in {1003, 2004} else None

    found: Answer = await until(definite, within_s=60)
    return found


async def order(api: Api, member_id: str) -> str:
    body = {
        "memberId": member_id,
        "rewardId": "copperleaf-coffee-us",
        "denomination": 5,
        "recipient": RECIPIENT,
    }
    answer = await retried(api, "redemptions", body, key=str(new_id()))
    assert answer.status == 200, answer
    return str(answer.result["redemptionId"])


async def ended(api: Api, redemption_id: str) -> str:
    async def status() -> str | None:
        try:
            answer = await api.call("GET", f"/v1/redemptions/{redemption_id}")
        except aiohttp.ClientError:
            return None
        found = answer.result.get("status") if answer.status == 200 else None
        return found if found in ENDED else None

    return str(await until(status, within_s=90))


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "victim", ["ledger_svc", "fulfillment_svc", "catalog_svc", "identity_svc", "provider", "redis"]
)
async def test_kill_during_redemptions(api: Api, mesh: Mesh, victim: str) -> None:
    member_id = await api.member(points=POINTS)
    orders = [asyncio.create_task(order(api, member_id)) for _ in range(12)]
    await asyncio.wait(orders, return_when=asyncio.FIRST_COMPLETED)
    mesh.kill(victim)
    redemption_ids = await asyncio.gather(*orders)
    await mesh.ready(victim)
    statuses = await asyncio.gather(*(ended(api, redemption_id) for redemption_id in redemption_ids))
    fulfilled = statuses.count("FULFILLED")
    balance = await api.balance(member_id)
    assert balance["balance"] == POINTS - COST * fulfilled
    assert balance["held"] == 0
    journal = [json.loads(line) for line in mesh.layout.provider.read_text().splitlines()]
    issued = [entry["reference"] for entry in journal if entry.get("status") == "ISSUED"]
    references = [reference for reference in issued if reference in redemption_ids]
    assert sorted(set(references)) == sorted(references)  # R3: at most one issue a redemption
    assert len(references) == fulfilled
    await funding_is_whole(mesh)


async def funding_is_whole(mesh: Mesh) -> None:
    """No prepaid funding stays reserved once every redemption has ended, but for orders."""

    async def rows(service: str, statement: LiteralString) -> set[Any]:
        async with await psycopg.AsyncConnection.connect(mesh.dsn(service, "owner")) as connection:
            return set(await (await connection.execute(statement)).fetchall())

    async def none_held() -> bool:
        return await rows("ledger", _HELD) <= await rows("fulfillment", _OF_ORDERS)

    assert await until(none_held)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("victim", ["ledger_svc", "identity_svc"])
async def test_kill_during_merges(api: Api, mesh: Mesh, victim: str) -> None:  # G44
    survivor = await api.member(points=7)
    merged = [await api.member(points=100) for _ in range(8)]

    async def there_and_back(member_id: str) -> None:
        for operation in ("MergeProfiles", "UnmergeProfiles", "MergeProfiles"):
            body = {"mergedId": member_id} | ({"survivorId": survivor} if operation == "MergeProfiles" else {})
            answer = await retried(api, operation, body, key=str(new_id()))
            assert answer.status == 200, answer

    journeys = [asyncio.create_task(there_and_back(member_id)) for member_id in merged]
    for _ in range(3):
        await asyncio.sleep(0)
        mesh.kill(victim)
        await mesh.ready(victim)
    await asyncio.gather(*journeys)
    for member_id in (survivor, *merged):
        found = await retried(api, "GetBalance", {"memberId": member_id}, key=str(new_id()))
        assert found.result["balance"] == 807
