"""Events in bulk, as a partner sends them."""

import asyncio
import json
from typing import Any

import pytest

from devmesh.mesh import Mesh
from svckit.clock import new_id
from tests.mesh.conftest import Api, token
from tests.mesh.test_kills import retried


def events(member_id: str, count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"memberId": member_id, "type": "purchase", "amount": place, "idempotencyKey": str(new_id()), **more}
        for place in range(1, count + 1)
    ]


async def results(api: Api, batch_id: str) -> list[dict[str, Any]]:
    """All of them, page by page."""
    found: list[dict[str, Any]] = []
    page_token = ""
    while not found or page_token:
        page = await api.post("GetBatchStatus", {"batchId": batch_id, "pageToken": page_token, "pageSize": 400})
        assert page.status == 200, page
        found += page.result["results"]
        page_token = page.result["nextPageToken"]
    return found


async def test_a_batch_is_told_in_figures_and_event_by_event(api: Api) -> None:
    member_id = await api.member()
    sent = [*events(member_id, 2), *events("nobody", 1)]
    answer = await api.post("InsertTransactionBatch", {"transactions": sent, "mode": "continue"}, key="mesh-batch")
    assert answer.status == 200, answer
    assert list(answer.result) == ["batchId"]
    status = (await api.post("GetBatchStatus", {"batchId": answer.result["batchId"]})).result
    figures = {name: status[name] for name in ("status", "mode", "total", "succeeded", "failed", "skipped")}
    assert figures == {
        "status": "COMPLETED", "mode": "CONTINUE", "total": 3, "succeeded": 2, "failed": 1, "skipped": 0
    }  # fmt: skip
    assert status["firstFailed"] == 2
    one, two, refused = status["results"]
    assert (one["index"], one["idempotencyKey"], one["status"]) == (0, sent[0]["idempotencyKey"], "SUCCEEDED")
    assert [made["transaction"]["balance"] for made in (one, two)] == [1, 3]
    assert (refused["refusal"]["errorCode"], refused["refusal"]["reason"]) == (3001, "MEMBER_NOT_FOUND")
    again = await api.post("InsertTransactionBatch", {"transactions": sent, "mode": "CONTINUE"}, key="mesh-batch")
    assert (again.headers["idempotency-replayed"], again.result) == ("true", answer.result)
    assert (await api.balance(member_id))["balance"] == 3


async def test_the_paths_of_events_are_those_of_the_named_operations(api: Api) -> None:
    member_id = await api.member()
    [alone, *others] = events(member_id, 3)
    key = alone.pop("idempotencyKey")
    by_path = await api.post("events", alone, key=key)
    by_name = await api.post("InsertTransactionData", alone, key=key)
    assert (by_name.headers["idempotency-replayed"], by_name.result) == ("true", by_path.result)
    in_bulk = {"transactions": [{**alone, "idempotencyKey": key}, *others]}
    batch = await api.post("events:batch", in_bulk, key="mesh-by-path")
    assert (await api.post("InsertTransactionBatch", in_bulk, key="mesh-by-path")).result == batch.result
    first, *_ = await results(api, batch.result["batchId"])
    assert (first["replayed"], first["transaction"]) == (True, by_path.result)
    assert (await api.balance(member_id))["balance"] == 6


async def test_a_batch_that_no_event_of_may_fail_has_no_effect_if_one_does(api: Api) -> None:  # G61
    member_id = await api.member()
    sent = [*events(member_id, 2), *events("m_suspended", 1), *events(member_id, 1)]
    batch = await api.post("InsertTransactionBatch", {"transactions": sent, "mode": "ATOMIC"})
    status = (await api.post("GetBatchStatus", {"batchId": batch.result["batchId"]})).result
    assert (status["status"], status["succeeded"], status["firstFailed"]) == ("FAILED", 0, 2)
    assert status["results"][2]["refusal"]["errorCode"] == 3003
    assert (await api.balance(member_id))["balance"] == 0


async def test_what_is_wrong_is_refused_as_a_whole_and_by_its_place(api: Api) -> None:
    member_id = await api.member()
    good = events(member_id, 1)
    for wrong, field in (
        ({"point": 7}, "transactions[1].point"),
        ({"memberId": ""}, "transactions[1].memberId"),
        ({"idempotencyKey": "a b"}, "transactions[1].idempotencyKey"),
    ):
        answer = await api.post(
            "InsertTransactionBatch", {"transactions": [*good, {**events(member_id, 1)[0], **wrong}]}
        )
        assert (answer.status, answer.code) == (400, 1000), answer
        assert {violation["field"] for violation in answer.result["details"]["fieldViolations"]} == {field}
    assert (await api.balance(member_id))["balance"] == 0


async def test_nobody_else_sees_a_batch(api: Api, tireless: Api, mesh: Mesh) -> None:  # G49
    batch = await api.post("InsertTransactionBatch", {"transactions": events("m_8124", 1)})
    theirs = await tireless.post("GetBatchStatus", {"batchId": batch.result["batchId"]})
    nobodys = await tireless.post("GetBatchStatus", {"batchId": str(new_id())})
    assert (theirs.status, theirs.code, theirs.body) == (404, 5012, nobodys.body)
    writer = Api(api.http, await token(api.http, mesh, scope="events:write"))
    assert (await writer.post("GetBatchStatus", {"batchId": batch.result["batchId"]})).code == 2003
    reader = Api(api.http, await token(api.http, mesh, scope="points:read"))
    assert (await reader.post("InsertTransactionBatch", {"transactions": events("m_8124", 1)})).code == 2003


@pytest.mark.timeout(240)
async def test_a_thousand_events_are_counted_once_though_the_ledger_is_killed(tireless: Api, mesh: Mesh) -> None:
    members = [await tireless.member() for _ in range(10)]
    sent = [event for member_id in members for event in events(member_id, 100)]
    # As large as a request may be.
    text = "x" * ((1 << 20) - len(json.dumps({"transactions": sent})) - 100_000)
    sent[0]["attributes"] = {"note": text}
    call = asyncio.create_task(retried(tireless, "InsertTransactionBatch", {"transactions": sent}, key="mesh-thousand"))
    await asyncio.sleep(0)
    mesh.kill("ledger_svc")
    batch = await call
    await mesh.ready("ledger_svc")
    assert batch.status == 200, batch
    again = await retried(tireless, "InsertTransactionBatch", {"transactions": sent}, key="mesh-thousand")
    assert again.result == batch.result
    found = await results(tireless, batch.result["batchId"])
    assert [result["idempotencyKey"] for result in found] == [event["idempotencyKey"] for event in sent]
    assert {result["status"] for result in found} == {"SUCCEEDED"}
    for member_id in members:
        assert (await tireless.balance(member_id))["balance"] == sum(range(1, 101))
