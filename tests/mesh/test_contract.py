"""The envelope and the HTTP status agree, whoever refuses."""

import asyncio
import io
import json
from typing import Any

import aiohttp
import pytest
from rewards.identity.v1 import credentials_pb2

from devmesh.demo.partner import Answer
from devmesh.mesh import Mesh
from devmesh.seed import SECOND
from tests.mesh.conftest import Api, token, until
from tests.mesh.operators import Operator

REDEEM = "/v1/RedeemPoints"


async def send(http: aiohttp.ClientSession, method: str, path: str, **more: Any) -> Answer:
    async with http.request(method, path, **more) as response:
        lowered = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, lowered, json.loads(await response.read()))


def check(answer: Answer, status: int, code: int) -> None:
    assert (answer.status, answer.body.get("ErrorCode")) == (status, code), answer
    assert set(answer.body) == {"IsSucessful", "ErrorCode", "ExceptionMessage", "ReturnObject"}
    assert answer.body["IsSucessful"] is (code == 0)
    assert answer.headers["content-type"].startswith("application/json")
    if code:
        assert answer.body["ExceptionMessage"]
        assert answer.body["ReturnObject"]["reason"]
        assert isinstance(answer.body["ReturnObject"]["details"], dict)


def fields(answer: Answer) -> list[str]:
    return [violation["field"] for violation in answer.result["details"]["fieldViolations"]]


async def test_what_parsing_refuses(api: Api, http: aiohttp.ClientSession) -> None:
    auth = {"authorization": f"Bearer {api.token}", "idempotency-key": "k"}
    json_type = {**auth, "content-type": "application/json"}
    check(await send(http, "POST", REDEEM, data=b'{"memberId":', headers=json_type), 400, 1000)
    check(await send(http, "POST", REDEEM, data=b"a=b", headers={**auth, "content-type": "text/plain"}), 415, 1008)
    check(await send(http, "POST", "/v1/NoSuchThing", json={}, headers=auth), 404, 1004)
    check(await send(http, "GET", "/nowhere", headers=auth), 404, 1004)
    check(await send(http, "GET", REDEEM, headers=auth), 405, 1007)
    large = io.BytesIO(json.dumps({"reason": "x" * 2_000_000}).encode())
    check(await send(http, "POST", REDEEM, data=large, headers=json_type), 413, 1005)
    for kilobytes in (20, 70):
        long = await send(http, "POST", REDEEM, json={}, headers={**auth, "x-long": "x" * 1_000 * kilobytes})
        assert (long.status, long.body["ErrorCode"]) == (431, 1005)


async def test_who_may_not_call(api: Api, http: aiohttp.ClientSession, mesh: Mesh) -> None:
    body = {"memberId": "m_zero"}
    refused = ("", "Bearer", "Bearer x.y.z", "Bearer rk_test_nope", f"Bearer {mesh.env['REWARDS_EXPIRED_API_KEY']}")
    for credential in refused:
        answer = await send(http, "POST", "/v1/GetBalance", json=body, headers={"authorization": credential})
        check(answer, 401, 2001)
    narrowed = Api(http, await token(http, mesh, scope="points:read"))
    check(await narrowed.post("GetBalance", body), 200, 0)
    check(await narrowed.post("RedeemPoints", {**body, "points": 1}), 403, 2003)
    by_key = await send(http, "POST", "/v1/GetBalance", json=body, headers={"x-api-key": api.token})
    check(by_key, 200, 0)
    assert int(by_key.headers["x-ratelimit-limit"]) > 0
    assert by_key.headers["x-request-id"]


async def test_what_validation_and_rules_refuse(api: Api) -> None:
    member_id = await api.member(points=10)
    redeem = {"memberId": member_id, "points": 1}
    misspelt = await api.post("RedeemPoints", {"memberId": member_id, "point": 1})
    check(misspelt, 400, 1000)
    assert fields(misspelt) == ["point"]
    nested = await api.post("CreateProfileWithAttributes", {"relations": [{"typo": "crm", "value": "1"}]})
    check(nested, 400, 1000)
    assert fields(nested) == ["relations[0].typo"]
    missing = await api.post("RedeemPoints", {"memberId": member_id})
    check(missing, 400, 1000)
    assert fields(missing) == ["points"]
    nul = await api.post("RedeemPoints", {**redeem, "reason": "a\0b"})
    check(nul, 400, 1000)
    check(await api.post("RedeemPoints", {**redeem, "points": 11}), 422, 4001)
    check(await api.post("CreateProfileWithAttributes", {"memberId": member_id}), 409, 3002)
    check(await api.post("RedeemPoints", {"memberId": "m_suspended", "points": 1}), 422, 3003)
    check(await api.post("GetProfile", {"memberId": "m_nobody"}), 404, 3001)
    check(await api.call("GET", "/v1/rewards?colour=red"), 400, 1000)
    assert (await api.balance(member_id))["balance"] == 10


async def test_a_duplicate_key_in_the_body_moves_nothing(api: Api, http: aiohttp.ClientSession) -> None:
    member_id = await api.member(points=2_000)
    headers = {
        "authorization": f"Bearer {api.token}",
        "idempotency-key": "twice",
        "content-type": "application/json",
    }
    text = f'{{"memberId": "{member_id}", "points": 1, "points": 1000}}'
    answer = await send(http, "POST", REDEEM, data=text.encode(), headers=headers)
    check(answer, 400, 1000)
    assert fields(answer) == ["points"]
    assert (await api.balance(member_id))["balance"] == 2_000


async def test_a_value_call_needs_its_key(api: Api, http: aiohttp.ClientSession) -> None:
    member_id = await api.member(points=10)
    headers = {"authorization": f"Bearer {api.token}"}
    body = {"memberId": member_id, "points": 1}
    check(await send(http, "POST", REDEEM, json=body, headers=headers), 400, 1001)
    first = await api.post("RedeemPoints", body, key=f"one-{member_id}")
    again = await api.post("RedeemPoints", body, key=f"one-{member_id}")
    check(first, 200, 0)
    assert again.body == first.body
    assert again.headers["idempotency-replayed"] == "true"
    check(await api.post("RedeemPoints", {**body, "points": 2}, key=f"one-{member_id}"), 422, 1002)


async def test_over_the_limit(http: aiohttp.ClientSession, operator: Operator) -> None:
    # So slow a plan that no machine is too slow to be over it.
    plan = credentials_pb2.Plan(plan_id="slow", requests_per_second=1, burst=3, requests_per_day=10_000)
    await operator.call("PutPlan", credentials_pb2.PutPlanRequest(plan=plan))
    other = Api(http, await operator.api_key(SECOND, plan_id="slow"))
    answers = await asyncio.gather(*(other.post("GetBalance", {"memberId": "g_1001"}) for _ in range(30)))
    limited = [answer for answer in answers if answer.status != 200]
    assert limited
    for answer in limited:
        check(answer, 429, 2004)
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["x-ratelimit-remaining"] == "0"


async def test_a_service_that_is_down_is_a_503_and_comes_back(api: Api, mesh: Mesh) -> None:
    mesh.kill("catalog_svc")

    async def refused() -> Answer | None:
        answer = await api.call("GET", "/v1/rewards")
        return answer if answer.status != 200 else None

    answer = await until(refused)
    check(answer, 503, 9002)
    assert int(answer.headers["retry-after"]) >= 1
    await mesh.ready("catalog_svc")

    async def back() -> bool:
        return (await api.call("GET", "/v1/rewards")).status == 200

    assert await until(back)


@pytest.mark.parametrize("name", ["x-rewards-program", "x-rewards-kind", "x-rewards-scopes", "x-rewards-member"])
async def test_principal_headers_from_outside_change_nothing(api: Api, http: aiohttp.ClientSession, name: str) -> None:
    spoofed = {name: "operator" if name.endswith("kind") else "sandbox-globex", name.upper(): "member"}
    answer = await send(http, "POST", "/v1/GetBalance", json={"memberId": "m_zero"}, headers=spoofed)
    check(answer, 401, 2001)
    check(await api.post("GetBalance", {"memberId": "g_1001"}, headers=spoofed), 404, 3001)


async def test_the_token_call_speaks_oauth(http: aiohttp.ClientSession, mesh: Mesh) -> None:
    good = {"grant_type": "client_credentials", "client_id": mesh.env["REWARDS_CLIENT_ID"]}
    secret = mesh.env["REWARDS_CLIENT_SECRET"]
    for more in ({"data": {**good, "client_secret": secret}}, {"json": {**good, "client_secret": secret}}):
        answer = await send(http, "POST", "/oauth/token", **more)
        assert answer.status == 200, answer
        assert set(answer.body) == {"access_token", "token_type", "expires_in", "scope"}
        assert answer.headers["cache-control"] == "no-store"
    grant = {"grant_type": "client_credentials"}
    basic = {"authorization": aiohttp.encode_basic_auth(good["client_id"], secret)}
    assert (await send(http, "POST", "/oauth/token", data=grant, headers=basic)).status == 200
    wrong = await send(http, "POST", "/oauth/token", data={**good, "client_secret": "wrong"})
    assert (wrong.status, wrong.body["error"]) == (401, "invalid_client")
    alias = await send(http, "POST", "/oauth/Auth/Token", json={**good, "client_secret": "wrong"})
    assert (alias.status, alias.body["error"], alias.body["IsSucessful"]) == (401, "invalid_client", False)
    other = await send(http, "POST", "/oauth/token", data={**good, "client_secret": secret, "scope": "root"})
    assert (other.status, other.body["error"]) == (400, "invalid_scope")
