"""Orders for many recipients at once, as a partner sees them over REST, through the whole mesh."""

from typing import Any

import aiohttp
import psycopg
import pytest

from devmesh.demo.partner import Answer
from devmesh.mesh import Mesh
from svckit.clock import new_id
from tests.mesh.conftest import Api, until
from tests.mesh.test_kills import funding_is_whole, retried
from tests.mesh.test_orders import OPTIONS, at_link

VALUE = 20


def items(count: int, **changes: Any) -> list[dict[str, Any]]:
    """Items of 20 dollars by link, unless changed."""
    each = {"value": VALUE, "currency": "USD", "options": OPTIONS, "delivery": "LINK", **changes}
    return [{**each, "itemKey": f"payout-{number}", "recipient": {"name": f"No {number}"}} for number in range(count)]


async def filled(api: Api, sent: list[dict[str, Any]]) -> str:
    """The id of a new batch with these items."""
    batch_id = str((await api.post("batches", {})).result["batchId"])
    for start in range(0, len(sent), 500):
        answer = await api.post(f"batches/{batch_id}:append", {"items": sent[start : start + 500]})
        assert answer.status == 200, answer
    return batch_id


async def read(api: Api, batch_id: str, query: str = "pageSize=500") -> dict[str, Any] | None:
    """A batch, if it can be read now."""
    try:
        answer = await api.call("GET", f"/v1/batches/{batch_id}?{query}")
    except aiohttp.ClientError:
        return None
    return answer.result if answer.status == 200 else None


async def completed(api: Api, batch_id: str) -> dict[str, Any]:
    """The batch once each of its items is decided."""

    async def seen() -> dict[str, Any] | None:
        found = await read(api, batch_id)
        return found if found and found["batch"]["status"] == "COMPLETED" else None

    found: dict[str, Any] = await until(seen, within_s=90)
    return found


async def test_a_batch_is_filled_committed_and_claimed(api: Api, http: aiohttp.ClientSession) -> None:
    sent = [*items(2), {**items(1)[0], "itemKey": "odd", "value": 7}]
    batch_id = await filled(api, sent)
    assert (await api.post(f"batches/{batch_id}:append", {"items": sent[:2]})).result["known"] == 2
    other = await api.post(f"batches/{batch_id}:append", {"items": [{**sent[0], "value": 10}]})
    assert (other.code, other.result["details"]["fieldViolations"][0]["field"]) == (1002, "items[0].itemKey")
    for wrong, field in (
        ({"values": 7}, "items[0].values"),
        ({"itemKey": ""}, "items[0].itemKey"),
        ({"recipient": {"email": "nobody"}}, "items[0].recipient.email"),
    ):
        answer = await api.post(f"batches/{batch_id}:append", {"items": [{**sent[0], **wrong}]})
        assert (answer.code, answer.result["details"]["fieldViolations"][0]["field"]) == (1000, field)
    checked = (await api.post(f"batches/{batch_id}:preflight", {})).result
    assert (checked["checked"], checked["refused"], checked["findings"][0]["itemKey"]) == (3, 1, "odd")
    [funding] = checked["funding"]
    assert (funding["currency"], funding["needed"], funding["shortBy"]) == ("USD", 2 * VALUE, 0)
    assert "shortAtIndex" not in funding
    committed = await api.post(f"batches/{batch_id}:commit", {})
    assert (committed.status, committed.result["status"]) == (200, "RUNNING"), committed
    assert (await api.post(f"batches/{batch_id}:append", {"items": items(9)})).code == 1006
    one, two, odd = (await completed(api, batch_id))["results"]
    assert (odd["status"], odd["refusal"]["errorCode"], odd["refusal"]["reason"]) == (
        "FAILED",
        5003,
        "DENOMINATION_INVALID",
    )
    assert one["orderId"] != two["orderId"]
    shown: Answer = await at_link(http, one, country="US")
    assert (shown.status, shown.result["remaining"]) == (200, VALUE)
    paged = await read(api, batch_id, "pageSize=2")
    assert paged is not None
    assert [result["itemKey"] for result in paged["results"]] == ["payout-0", "payout-1"]
    rest = await read(api, batch_id, f"pageSize=2&pageToken={paged['nextPageToken']}")
    assert rest is not None
    assert (rest["results"], rest["nextPageToken"]) == ([odd], "")


@pytest.mark.timeout(240)
async def test_each_item_is_one_order_though_the_service_is_killed(tireless: Api, mesh: Mesh) -> None:
    sent = items(240)
    paid = await tireless.post("funding/deposits", {"amount": VALUE * len(sent), "currency": "USD"})
    assert paid.status == 200, paid
    batch_id = await filled(tireless, sent)
    await retried(tireless, f"batches/{batch_id}:commit", {}, key=str(new_id()))

    async def some() -> bool:
        found = await read(tireless, batch_id, "pageSize=1")
        return found is not None and found["batch"]["succeeded"] > 0

    await until(some)
    mesh.kill("fulfillment_svc")
    await mesh.ready("fulfillment_svc")
    done = await completed(tireless, batch_id)
    assert (done["batch"]["succeeded"], done["batch"]["failed"]) == (len(sent), 0)
    assert [result["itemKey"] for result in done["results"]] == [item["itemKey"] for item in sent]
    told = {result["orderId"] for result in done["results"]}
    async with await psycopg.AsyncConnection.connect(mesh.dsn("fulfillment", "owner")) as connection:
        made = await connection.execute(
            "SELECT order_id::text, hold_id FROM orders WHERE idempotency_key LIKE %s", [f"batch {batch_id} %"]
        )
        holds: dict[str, Any] = dict(await made.fetchall())
    assert (len(told), set(holds)) == (len(sent), told), "no order but those that are told, one an item"
    async with await psycopg.AsyncConnection.connect(mesh.dsn("ledger", "owner")) as connection:
        held = await connection.execute(
            "SELECT count(*), sum(amount) FROM holds WHERE state = 1 AND hold_id = ANY (%s)", [list(holds.values())]
        )
        assert await held.fetchone() == (len(sent), len(sent) * VALUE * 100)
    await funding_is_whole(mesh)
