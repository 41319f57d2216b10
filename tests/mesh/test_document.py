"""The document that the mesh serves about itself, and what holds the mesh against it."""

from typing import Any

import aiohttp
import pytest
from openapi_spec_validator import validate

from devmesh.mesh import Mesh
from gateway.openapi.document import document as made
from gateway.surface import DESCRIPTORS, load
from tests.mesh.conftest import Api
from tests.mesh.truth import Document


async def test_anybody_reads_it_and_it_is_valid(mesh: Mesh) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{mesh.url}/v1/openapi.json") as response:
        served: dict[str, Any] = await response.json()
    validate(served)
    assert served == made(load(DESCRIPTORS))


async def test_what_is_known_already_is_not_sent_again(api: Api, http: aiohttp.ClientSession) -> None:
    headers = {"authorization": f"Bearer {api.token}"}
    async with http.get("/v1/rewards", headers=headers) as response:
        assert response.status == 200
        headers["if-none-match"] = response.headers["etag"]
    async with http.get("/v1/rewards", headers=headers) as response:
        assert (response.status, await response.read()) == (304, b"")


async def test_what_is_refused_seldom_is_in_it_too(api: Api) -> None:
    """The session holds each answer against the document; here are those that no other test meets."""
    member_id = await api.member(points=9_000_000_000_000_000)
    event = {"memberId": member_id, "type": "purchase", "amount": 90_000_000_000_000}
    assert (await api.post("InsertTransactionData", event)).code == 4006
    much = {"amount": 900_000_000_000_000, "currency": "JPY"}
    over = {"memberId": member_id, "points": 9_000_000_000_000_000, "reasonCode": "GOODWILL"}
    asked = await api.post("adjustments", over)
    assert (asked.status, asked.result["adjustment"]["status"]) == (200, "PENDING")
    assert 4006 in [(await api.post("funding/deposits", much)).code for _ in range(11)]
    recipient = {"email": "a..b@example.com", "name": "Ada", "country": "US"}
    order = {"memberId": "m_8124", "rewardId": "copperleaf-coffee-us", "denomination": 5, "recipient": recipient}
    assert (await api.post("redemptions", order)).code == 5006


def test_an_answer_that_is_not_in_it_is_seen() -> None:
    judge = Document(made(load(DESCRIPTORS)))
    headers = {"content-type": "application/json", "x-request-id": "r", "x-trace-id": "0" * 32}
    balance = b'{"balance":1,"available":1,"held":0,"pending":0}'
    done = b'{"IsSucessful":true,"ErrorCode":0,"ExceptionMessage":null,"ReturnObject":%s}'
    refused = b'{"IsSucessful":false,"ErrorCode":%d,"ExceptionMessage":"x","ReturnObject":{"reason":"%s","details":{}}}'
    judge.check("POST", "/v1/GetBalance", 200, headers, done % balance)
    judge.check("POST", "/v1/GetBalance", 404, headers, refused % (3001, b"MEMBER_NOT_FOUND"))
    wrong = [
        (200, headers, done % b'{"balance":"1","available":1,"held":0,"pending":0}'),
        (200, headers, done % b'{"balance":1,"available":1,"held":0,"pending":0,"more":1}'),
        (200, headers, done % b'{"balance":1,"available":1,"held":0}'),
        (200, headers, balance),
        (200, {**headers, "content-type": "text/plain"}, done % balance),
        (200, {"content-type": "application/json"}, done % balance),
        (404, headers, refused % (5001, b"REWARD_NOT_FOUND")),
        (418, headers, refused % (3001, b"MEMBER_NOT_FOUND")),
    ]
    for status, sent, body in wrong:
        with pytest.raises(AssertionError):
            judge.check("POST", "/v1/GetBalance", status, sent, body)
