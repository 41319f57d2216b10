"""What a partner does, end to end."""

import asyncio
from urllib.parse import urlencode

import aiohttp
import pytest

from devmesh.demo.partner import Screen
from devmesh.demo.story import tell
from devmesh.mesh import Mesh
from devmesh.spans import read_trace
from svckit.clock import new_id
from tests.mesh.conftest import Api, token, until


async def test_the_demo_tells_the_truth(mesh: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    await tell(mesh, screen)
    assert screen.failed == [], capsys.readouterr().out
    assert screen.held > 20


async def test_fifty_spends_of_one_balance_have_one_winner(api: Api) -> None:  # G14
    member_id = await api.member(points=100)
    body = {"memberId": member_id, "points": 100}
    answers = await asyncio.gather(*(api.post("RedeemPoints", body) for _ in range(50)))
    codes = sorted(answer.code for answer in answers)
    assert codes == [0] + [4001] * 49
    assert {answer.status for answer in answers if answer.code} == {422}
    assert (await api.balance(member_id))["balance"] == 0


async def test_fifty_copies_of_one_key_are_one_debit(api: Api) -> None:
    member_id = await api.member(points=1_000)
    body = {"memberId": member_id, "points": 100}
    answers = await asyncio.gather(*(api.post("RedeemPoints", body, key=f"copies-{member_id}") for _ in range(50)))
    done = [answer.body for answer in answers if answer.code == 0]
    assert done
    assert all(body == done[0] for body in done)
    assert {answer.code for answer in answers} <= {0, 1003}
    assert (await api.balance(member_id))["balance"] == 900


async def test_one_request_is_one_trace(api: Api, mesh: Mesh) -> None:
    member_id = await api.member(points=100)
    answer = await api.post("RedeemPoints", {"memberId": member_id, "points": 1})
    trace_id = answer.headers["x-trace-id"]

    async def whole() -> set[tuple[str, str]]:
        # Each process sends its spans by itself, so for a while some have no parent yet.
        spans = read_trace(mesh.layout.traces, trace_id)
        known = {span.span for span in spans}
        roots = [span for span in spans if span.parent not in known]
        arrived = {"gateway", "identity_svc", "ledger_svc"} <= {span.service for span in spans}
        return {(span.service, span.name) for span in spans} if arrived and len(roots) == 1 else set()

    names = await until(whole)
    assert {
        ("identity_svc", "envoy.service.auth.v3.Authorization/Check"),
        ("ledger_svc", "rewards.ledger.v1.PointsService/RedeemPoints"),
        ("ledger_svc", "db.transact"),
    } <= names


async def test_a_redemption_is_one_trace_through_every_service(api: Api, mesh: Mesh) -> None:
    member_id = await api.member(points=1_000)
    recipient = {"email": "ada@example.com", "name": "Ada", "country": "US"}
    order = {"memberId": member_id, "rewardId": "copperleaf-coffee-us", "denomination": 5, "recipient": recipient}
    answer = await api.post("redemptions", order)
    assert answer.status == 200, answer

    async def services() -> bool:
        spans = read_trace(mesh.layout.traces, answer.headers["x-trace-id"])
        return {"gateway", "fulfillment_svc", "catalog_svc", "ledger_svc"} <= {span.service for span in spans}

    assert await until(services)


async def test_another_programs_member_looks_like_none(http: aiohttp.ClientSession, api: Api, mesh: Mesh) -> None:
    member_id = await api.member(points=10)
    other = Api(http, await token(http, mesh, "REWARDS2"))
    for operation, more in (("GetProfile", {}), ("GetBalance", {}), ("RedeemPoints", {"points": 1})):
        theirs = await other.post(operation, {"memberId": member_id, **more})
        nobodys = await other.post(operation, {"memberId": "m_nobody", **more})
        assert (theirs.status, theirs.code) == (404, 3001)
        assert theirs.body == nobodys.body


async def test_a_correction_over_the_limit_takes_two_credentials(
    api: Api, http: aiohttp.ClientSession, mesh: Mesh
) -> None:
    member_id, key = await api.member(), f"fix/{new_id()}?a=1&b=%2F"
    asked = await api.post("adjustments", {"memberId": member_id, "points": 1_001, "reasonCode": "GOODWILL"}, key=key)
    approve = f"adjustments/{asked.result['adjustment']['adjustmentId']}:approve"
    assert (asked.status, asked.result["adjustment"]["status"]) == (200, "PENDING")
    assert (await api.post(approve, {})).status == 403
    approved = await Api(http, await token(http, mesh)).post(approve, {})
    assert (approved.status, approved.result["balance"]) == (200, 1_001)
    # A key may have characters that a path cannot carry.
    seen = await api.call("GET", f"/v1/outcomes/CreateAdjustment?{urlencode({'idempotencyKey': key})}")
    assert (seen.status, seen.result["status"], seen.result["adjustment"]) == (200, "DONE", asked.result)
    never = await api.call("GET", "/v1/outcomes/RedeemPoints/never-sent")
    assert (never.status, never.result["status"]) == (200, "NOT_SEEN")
    assert (await api.call("GET", "/v1/outcomes/GetBalance/k")).status == 400
    lots = await api.post("GetLots", {"memberId": member_id})
    assert [lot["remaining"] for lot in lots.result["lots"]] == [1_001]
