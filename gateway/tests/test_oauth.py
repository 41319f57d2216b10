"""OAuth's own forms: no envelope but on the one path that adds it."""

import json
from typing import Any

import pytest
from google.protobuf import json_format
from rewards.errors.v1 import errors_pb2
from rewards.identity.v1 import tokens_pb2

from gateway.tests.gate import CHECK, Gate, Reply
from gateway.tests.upstreams import Answer, refusal

ISSUE = "TokenService/IssueToken"
PLAIN, ENVELOPED = "/oauth/token", "/oauth/Auth/Token"
FORM = {"content-type": "application/x-www-form-urlencoded", "authorization": ""}
TOKEN = {"access_token": "t", "token_type": "Bearer", "expires_in": 1800, "scope": "points:read"}
ISSUED = json_format.ParseDict(TOKEN, tokens_pb2.IssueTokenResponse())


async def ask(gate: Gate, path: str, headers: dict[str, str] | None = None) -> Reply:
    return await gate.call("POST", path, raw=b"grant_type=client_credentials", headers=FORM | (headers or {}))


async def test_a_token_leaves_as_the_rfc_has_it(gate: Gate) -> None:
    answer = Answer([ISSUED], headers=(("cache-control", "no-store"),))
    gate.answer("identity_svc", ISSUE, answer)
    reply = await ask(gate, PLAIN)
    assert (reply.status, reply.json, reply.headers["cache-control"]) == (200, TOKEN, "no-store")


async def test_the_alias_adds_the_envelope(gate: Gate) -> None:
    gate.answer("identity_svc", ISSUE, Answer([ISSUED]))
    envelope = {"IsSucessful": True, "ErrorCode": 0, "ExceptionMessage": None, "ReturnObject": TOKEN}
    assert (await ask(gate, ENVELOPED)).json == TOKEN | envelope


def named(error: str) -> Any:
    return errors_pb2.OAuthError(error=error)


@pytest.mark.parametrize(
    ("answer", "status", "error", "number"),
    [
        (refusal(16, "Wrong.", "UNAUTHENTICATED", named("invalid_client")), 401, "invalid_client", 2001),
        (refusal(3, "Wrong.", "INVALID_REQUEST", named("invalid_scope")), 400, "invalid_scope", 1000),
        (refusal(3, "Wrong.", "INVALID_REQUEST"), 400, "invalid_request", 1000),
        (refusal(16, "Wrong."), 401, "invalid_client", 2001),
        (refusal(8, "Wrong.", "RATE_LIMITED"), 429, "temporarily_unavailable", 2004),
        (refusal(13, "secret"), 500, "server_error", 9001),
        (refusal(14, "secret", "UNAVAILABLE"), 503, "temporarily_unavailable", 9002),
    ],
)
async def test_errors_are_the_rfcs(gate: Gate, answer: Answer, status: int, error: str, number: int) -> None:
    gate.answer("identity_svc", ISSUE, answer)
    plain, enveloped = await ask(gate, PLAIN), await ask(gate, ENVELOPED)
    assert (plain.status, enveloped.status) == (status, status)
    assert list(plain.json) == ["error", "error_description"]
    assert plain.json["error"] == enveloped.json["error"] == error
    assert (enveloped.json["IsSucessful"], enveloped.json["ErrorCode"]) == (False, number)
    assert enveloped.json["ExceptionMessage"] == plain.json["error_description"]
    assert b"secret" not in plain.body
    assert plain.headers.get("www-authenticate", "").startswith("Basic") == (status == 401)
    assert ("retry-after" in plain.headers) == (status in {429, 503})


async def test_what_the_gateway_refuses_has_that_form_too(gate: Gate) -> None:
    assert (await gate.call("GET", PLAIN)).status == 405
    for reply in (
        await gate.call("GET", PLAIN),
        await gate.call("POST", "/oauth/nothing", {}),
        await gate.call("POST", PLAIN, raw=b" " * 2_000_000),
        await gate.call("POST", f"{PLAIN}?client_secret=x", raw=b""),
    ):
        assert list(reply.json) == ["error", "error_description"]
        assert reply.json["error"] == "invalid_request"
        assert 400 <= reply.status < 500
    del gate.services["identity_svc"].answers[CHECK]
    reply = await ask(gate, PLAIN)
    assert (reply.status, reply.json["error"]) == (503, "temporarily_unavailable")


async def test_a_json_body_arrives_with_its_type(gate: Gate) -> None:
    gate.answer("identity_svc", ISSUE, Answer([ISSUED]))
    reply = await gate.call("POST", PLAIN, {"grant_type": "client_credentials"}, headers={"authorization": ""})
    assert reply.status == 200
    form = tokens_pb2.IssueTokenRequest.FromString(gate.calls("identity_svc", ISSUE)[-1].request).form
    assert form.content_type == "application/json"
    assert json.loads(form.data) == {"grant_type": "client_credentials"}


async def test_what_is_refused_before_it_is_read_has_the_form_of_its_path(gate: Gate) -> None:
    long = {"x-long": "a" * 17_000}
    plain, enveloped = await ask(gate, PLAIN, long), await ask(gate, ENVELOPED, long)
    assert (plain.status, list(plain.json)) == (431, ["error", "error_description"])
    assert (enveloped.status, enveloped.json["ErrorCode"], enveloped.json["error"]) == (431, 1005, "invalid_request")
