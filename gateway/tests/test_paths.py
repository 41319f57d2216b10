"""What enters by its head: paths, methods, types, parameters, and what is not HTTP at all."""

import json
from urllib.parse import quote

import pytest
from rewards.ledger.v1 import points_pb2

from gateway.tests.gate import ECHO, Gate, Probe, assert_refused, violations
from gateway.tests.upstreams import Answer


@pytest.fixture(autouse=True)
def _echo(gate: Gate, probe: Probe) -> None:
    gate.answer("probe_svc", ECHO, Answer([probe["Everything"]()]))
    gate.answer("ledger_svc", "PointsService/GetBalance", Answer([points_pb2.GetBalanceResponse()]))
    gate.answer("ledger_svc", "PointsService/RedeemPoints", Answer([points_pb2.RedeemPointsResponse()]))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/",
        "/v2/rewards",
        "/v1/nothing",
        "/v1/rewards/",
        "/v1/rewards/a/b",
        "/v1/getBalance",
        "/V1/rewards",
        "/v1/rewards:nothing",
        "/v1/probes/:echo",
        "/v1/undeclared",
        "/v1/../admin",
        "/oauth2/token",
        "/metrics",
        "/rewards.ledger.v1.PointsService/GetBalance",
        "/v1/probes/a/items/",
        "/v1/inside",
    ],
)
async def test_an_unknown_path_is_1004(gate: Gate, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert_refused(await gate.call(method, path, {}), 404, 1004, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/GetBalance", "POST"),
        ("POST", "/v1/rewards", "GET"),
        ("POST", "/v1/redemptions/r_1", "GET"),
        ("DELETE", "/v1/redemptions", "GET, POST"),
        ("PATCH", "/v1/probes/a:replace", "PUT"),
        ("OPTIONS", "/v1/GetBalance", "POST"),
        ("NONSENSE", "/v1/GetBalance", "POST"),
    ],
)
async def test_another_method_is_1007_and_says_which(gate: Gate, method: str, path: str, allow: str) -> None:
    reply = await gate.call(method, path)
    assert_refused(reply, 405, 1007, "METHOD_NOT_ALLOWED")
    assert reply.headers["allow"] == allow


async def test_head_is_answered_without_a_body(gate: Gate) -> None:
    assert [(await gate.call("HEAD", path)).status for path in ("/v1/rewards", "/v1/nothing")] == [405, 404]
    assert (await gate.call("GET", "/v1/nothing")).status == 404


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "text/plain"}, b"{}"),
        ({"content-type": "application/jsonx"}, b"{}"),
        ({"content-type": "application/x-www-form-urlencoded"}, b"memberId=m"),
        ({"content-type": "application/json; charset=utf-16"}, b"{}"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, b"{}"),
        ({"content-type": "application/grpc"}, b"{}"),
        ({"content-type": "application/grpc-web"}, b"{}"),
        ({"content-type": "text/plain"}, None),
        ({}, b'{"memberId": "m"}'),
    ],
)
async def test_another_type_is_1008(gate: Gate, headers: dict[str, str], body: bytes | None) -> None:
    reply = await gate.call("POST", "/v1/GetBalance", raw=body, headers=headers)
    assert_refused(reply, 415, 1008, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": 'Application/JSON ; Charset="UTF-8"'}, b'{"memberId": "m"}'),
        ({"content-type": "application/json", "content-encoding": "identity"}, b'{"memberId": "m"}'),
        ({"content-type": "application/json"}, b""),
        ({"content-type": "application/json"}, None),
        ({}, None),
    ],
)
async def test_json_and_nothing_are_read(gate: Gate, headers: dict[str, str], body: bytes | None) -> None:
    assert (await gate.call("POST", "/v1/GetBalance", raw=body, headers=headers)).status == 200


async def test_a_body_where_none_is_read_is_refused(gate: Gate) -> None:
    violations(await gate.call("GET", "/v1/rewards", {"country": "FI"}))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("contry=FI", "contry"),
        ("page_size=5", "page_size"),
        ("points=1&points=2", "points"),
        ("points=x", "points"),
        ("points=1.5", "points"),
        ("points=9007199254740993", "points"),
        ("active=yes", "active"),
        ("amount=1e999", "amount"),
        ("colour=GREEN", "colour"),
        ("seenAt=2026", "seenAt"),
        ("label=%00", "label"),
        ("inner.points=1", "inner.points"),
        ("name=other", "name"),
        ("manyPoints=1&manyPoints=x", "manyPoints"),
        ("%ff=1", "?"),
        ("maybe=%31%00", "maybe"),
    ],
)
async def test_a_parameter_that_is_not_right_is_named(gate: Gate, query: str, field: str) -> None:
    reply = await gate.call("GET", f"/v1/probes/a/items/1?{query}")
    assert field in violations(reply)
    assert gate.services["probe_svc"].seen == []


async def test_parameters_and_path_arrive(gate: Gate, probe: Probe) -> None:
    query = "points=5&p%6fints=5"
    assert "points" in violations(await gate.call("GET", f"/v1/probes/a/items/1?{query}"))
    query = "points=5&manyPoints=1&manyPoints=2&colour=red&active=true&seenAt=2026-01-01T00:00:00Z&amount=1.5&&maybe=0"
    assert (await gate.call("GET", f"/v1/probes/a%20b%C3%A9/items/4?{query}")).status == 200
    got = gate.arrived(probe)
    assert (got.name, got.count, got.points, list(got.many_points), got.colour) == ("a bé", 4, 5, [1, 2], 2)
    assert (got.active, got.seen_at.seconds, got.amount, got.HasField("maybe")) == (True, 1767225600, 1.5, True)


async def test_a_verb_and_a_body_that_is_one_field_arrive(gate: Gate, probe: Probe) -> None:
    assert (await gate.call("PUT", "/v1/probes/a.b:replace", {"points": 5})).status == 200
    assert (gate.arrived(probe).name, gate.arrived(probe).inner.points) == ("a.b", 5)
    assert "lable" in violations(await gate.call("PUT", "/v1/probes/a:replace", {"lable": "x"}))


async def test_what_the_path_says_is_not_said_again(gate: Gate, probe: Probe) -> None:
    assert "name" in violations(await gate.call("POST", "/v1/probes/a:echo", {"name": "b"}))
    assert (await gate.call("POST", "/v1/probes/a:echo", {"points": 1})).status == 200
    assert gate.arrived(probe).name == "a"


@pytest.mark.parametrize("path", ["/v1/probes/a%00/items/1", "/v1/probes/a%2Fb/items/1", "/v1/probes/a%5cb/items/1"])
async def test_what_no_path_may_hold_is_refused(gate: Gate, path: str) -> None:
    violations(await gate.call("GET", path))


async def test_a_path_that_is_not_utf8_is_refused(gate: Gate) -> None:
    assert "name" in violations(await gate.call("GET", "/v1/probes/%ff/items/1"))


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /v1/rewards HTTP/1.1\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        b"GET /v1/rewards HTTP/1.0\r\nhost: x\r\n\r\n",
        b"GET /v1/rewards#a HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /v1/rewards HTTP/1.1\r\nhost: x\r\nx-a: a\x00b\r\n\r\n",
        b"GET /v1/rewards HTTP/1.1\r\nhost: x\r\nx_a: b\r\n\r\n",
        b"GET /v1/rewards HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"POST /v1/GetBalance HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_not_http_gets_the_envelope_too(gate: Gate, request_: bytes) -> None:
    reader, writer = await gate.connect()
    writer.write(request_)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"x-request-id: " in head
    assert b"x-trace-id: " in head
    body = json.loads(await reader.readuntil(b"}}}"))
    assert (body["ErrorCode"], body["IsSucessful"]) == (1000, False)
    writer.close()
    await writer.wait_closed()


async def test_precedence_syntax_before_credential(gate: Gate) -> None:
    bad = {"authorization": "Bearer expired"}
    assert (await gate.call("POST", "/v1/nothing", {}, headers=bad)).status == 404
    assert (await gate.call("GET", "/v1/GetBalance", headers=bad)).status == 405
    assert (await gate.call("POST", "/v1/GetBalance", raw=b"{}", headers=bad)).status == 415
    assert (await gate.call("POST", "/v1/GetBalance", {"x": 1}, headers=bad)).status == 400
    assert (await gate.call("POST", "/v1/GetBalance", {}, headers=bad)).status == 401


@pytest.mark.parametrize("before", range(4))
async def test_a_name_that_is_cut_is_still_text(gate: Gate, before: int) -> None:
    name = "a" * before + "\U0001f469" * 90
    (field,) = violations(await gate.call("GET", f"/v1/rewards?{quote(name)}=1"))
    assert name.startswith(field.removesuffix("…"))
