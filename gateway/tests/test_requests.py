"""What enters: paths, methods, types, and bodies in which every field is known and stands once."""

import json
from typing import Any

import pytest
from rewards.ledger.v1 import points_pb2

from gateway.tests.gate import Gate, Probe, Reply, assert_refused
from gateway.tests.upstreams import Answer

ECHO = "ProbeService/Echo"


@pytest.fixture(autouse=True)
def _echo(gate: Gate, probe: Probe) -> None:
    gate.answer("probe_svc", ECHO, Answer([probe["Everything"]()]))
    gate.answer("ledger_svc", "PointsService/GetBalance", Answer([points_pb2.GetBalanceResponse()]))
    gate.answer("ledger_svc", "PointsService/RedeemPoints", Answer([points_pb2.RedeemPointsResponse()]))


async def sent(gate: Gate, body: str | bytes) -> Reply:
    raw = body.encode() if isinstance(body, str) else body
    return await gate.call("POST", "/v1/probes", raw=raw, headers={"content-type": "application/json"})


def arrived(gate: Gate, probe: Probe) -> Any:
    return probe["Everything"].FromString(gate.calls("probe_svc", ECHO)[-1].request)


def violations(reply: Reply) -> dict[str, str]:
    details = assert_refused(reply, 400, 1000, "INVALID_REQUEST")
    return {found["field"]: found["description"] for found in details.get("fieldViolations", [])}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"point": 1000}', "point"),
        ('{"seen_at": "2026-01-01T00:00:00Z"}', "seen_at"),
        ('{"Points": 1}', "Points"),
        ('{"inner": {"label": "x", "lable": "y"}}', "inner.lable"),
        ('{"inners": [{}, {"x": 1}]}', "inners[1].x"),
        ('{"nested": {"nested": {"inners": [{"points": 1}, {"point": 1}]}}}', "nested.nested.inners[1].point"),
        ('{"": 1}', ""),
        ('{"po\\u0069nts ": 1}', "points "),
        ('{"points": 1, "points": 2}', "points"),
        ('{"points": 1, "p\\u006fints": 2}', "points"),
        ('{"inner": {"points": 1, "points": null}}', "inner.points"),
        ('{"inner": {"points": 1}, "inner": {"label": "x"}}', "inner"),
        ('{"attributes": {"a": {"b": 1, "b": 2}}}', "attributes.a.b"),
        ('{"points": 1.5}', "points"),
        ('{"points": 1e3}', "points"),
        ('{"points": 1.0}', "points"),
        ('{"points": 9007199254740993}', "points"),
        ('{"points": -9007199254740993}', "points"),
        ('{"points": 99999999999999999999}', "points"),
        ('{"points": "5"}', "points"),
        ('{"points": true}', "points"),
        ('{"points": [1]}', "points"),
        ('{"manyPoints": 1}', "manyPoints"),
        ('{"manyPoints": [1, "2"]}', "manyPoints[1]"),
        ('{"manyPoints": [null]}', "manyPoints[0]"),
        ('{"count": 2147483648}', "count"),
        ('{"amount": "1.5"}', "amount"),
        ('{"amount": 1e400}', "amount"),
        ('{"attributes": {"a": [1, -1e999]}}', "attributes.a[1]"),
        ('{"active": "true"}', "active"),
        ('{"active": 1}', "active"),
        ('{"name": 5}', "name"),
        ('{"name": {"a": 1}}', "name"),
        ('{"colour": "GREEN"}', "colour"),
        ('{"colour": "COLOUR_UNSPECIFIED"}', "colour"),
        ('{"colour": 1}', "colour"),
        ('{"colours": ["RED", "GREEN"]}', "colours[1]"),
        ('{"seenAt": "yesterday"}', "seenAt"),
        ('{"seenAt": "2026-12-31"}', "seenAt"),
        ('{"seenAt": "2026-13-01T00:00:00Z"}', "seenAt"),
        ('{"nested": {"seenAt": "2026-02-30T00:00:00Z"}}', "nested.seenAt"),
        ('{"inner": []}', "inner"),
        ('{"inner": "x"}', "inner"),
        ('{"inners": [1]}', "inners[0]"),
        ('{"attributes": []}', "attributes"),
        ('{"totals": []}', "totals"),
        ('{"unsigned": -1}', "unsigned"),
        ('{"blob": "&"}', "blob"),
        ("[]", ""),
        ("null", ""),
        ('"x"', ""),
    ],
)
async def test_a_field_that_is_not_right_is_named(gate: Gate, body: str, field: str) -> None:
    reply = await sent(gate, body)
    assert field in violations(reply)
    assert gate.services["probe_svc"].seen == []


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "}",
        "{]",
        "nul",
        "{'points': 1}",
        '{"points" 1}',
        '{"points": }',
        '{"points": 1,}',
        '{"points": 1 "count": 1}',
        '{"points": 01}',
        '{"points": +1}',
        '{"points": .5}',
        '{"points": 1.}',
        '{"points": 0x10}',
        '{"amount": NaN}',
        '{"amount": Infinity}',
        '{"points": 1} {}',
        '{"points": 1}x',
        "{points: 1}",
        '{"name": "a',
        '{"name": "a\nb"}',
        '{"name": "a\\x"}',
        '{"name": "\\u12"}',
        '{"name": "\\ud800"}',
        '{"name": "\\ud800\\u0041"}',
        '{"name": "\\udc00"}',
        '{"name": "a\\u0000b"}',
        '{"na\\u0000me": 1}',
        '{"attributes": {"a\\u0000": 1}}',
        '{"manyPoints": [1,]}',
        '{"manyPoints": [1 2]}',
        b'{"name": "\xff"}',
        b'{"name": "\xc0\xaf"}',
        b'{"name": "\xed\xa0\x80"}',
        b'{"\xff": 1}',
        '{"\\ud800": 1}',
        b"\xff\xfe{\x00}\x00",
        "[" * 100_000,
        '{"nested":' * 40 + "{}" + "}" * 40,
        '{"attributes":{"a":' + "[" * 31 + "]" * 31 + "}}",
    ],
)
async def test_what_is_not_json_is_refused(gate: Gate, body: str | bytes) -> None:
    reply = await sent(gate, body)
    violations(reply)
    assert reply.json["ExceptionMessage"].startswith("The body is not valid JSON.")
    assert len(reply.body) < 5_000
    assert gate.services["probe_svc"].seen == []


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("{}", {}),
        (' \t\r\n{ "points" : 5 , "count" : -3 } ', {"points": 5, "count": -3}),
        ('{"points": 9007199254740992}', {"points": 2**53}),
        ('{"points": -0}', {"points": 0}),
        ('{"p\\u006fints": 7}', {"points": 7}),
        ('{"colour": "dark_blue"}', {"colour": 1}),
        ('{"colour": "D\\u0061rk_BLUE"}', {"colour": 1}),
        ('{"name": "\\u00e9\\ud83d\\ude00\\"\\\\\\/\\n\\\\u0000"}', {"name": 'é😀"\\/\n\\u0000'}),
        ('{"amount": 1.5e3}', {"amount": 1500.0}),
        ('{"inner": null, "points": null, "manyPoints": null}', {}),
        ('{"maybe": 0}', {"maybe": 0}),
        ('{"wrapped": 5, "blob": "aGk="}', {"blob": b"hi"}),
    ],
)
async def test_what_is_right_arrives(gate: Gate, probe: Probe, body: str, wanted: dict[str, Any]) -> None:
    assert (await sent(gate, body)).status == 200
    message = arrived(gate, probe)
    assert {name: getattr(message, name) for name in wanted} == wanted


async def test_free_subtrees_arrive_as_they_are(gate: Gate, probe: Probe) -> None:
    attributes = {"anything": {"goes": ["here", {"points": "5", "x": None}]}, "n": 1.5, "b": False}
    body = {"attributes": attributes, "anything": [1, {"a": "b"}], "totals": {"x": 3}}
    assert (await gate.call("POST", "/v1/probes", body)).status == 200
    message = arrived(gate, probe)
    assert message.attributes["anything"]["goes"][1]["points"] == "5"
    assert (message.totals["x"], message.attributes["b"]) == (3, False)


async def test_thirty_two_levels_pass_all_the_way(gate: Gate, probe: Probe) -> None:
    body = '{"attributes":{"a":' + "[" * 30 + "]" * 30 + "}}"
    assert (await sent(gate, body)).status == 200
    assert len(arrived(gate, probe).attributes["a"]) == 1


async def test_a_megabyte_passes_and_more_is_1005(gate: Gate, probe: Probe) -> None:
    frame = len('{"name":""}')
    assert (await sent(gate, '{"name":"' + "x" * ((1 << 20) - frame) + '"}')).status == 200
    assert len(arrived(gate, probe).name) == (1 << 20) - frame
    many = json.dumps({"attributes": {str(n): [n] * 3 for n in range(25_000)}})
    assert (await sent(gate, many)).status == 200
    for size in ((1 << 20) + 1, 2 << 20, 6 << 20):
        assert_refused(await sent(gate, " " * size), 413, 1005, "PAYLOAD_TOO_LARGE")


async def test_a_chunked_body_over_a_megabyte_is_1005(gate: Gate) -> None:
    for chunks in (20, 80):
        reader, writer = await gate.connect()
        writer.write(b"POST /v1/probes HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n")
        writer.write(b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(chunks):
            writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        writer.write(b"0\r\n\r\n")
        assert b" 413 " in await reader.readline()
        assert b'"ErrorCode":1005' in await reader.readuntil(b"}}}")
        writer.close()
        await writer.wait_closed()


async def test_long_headers_are_1005_with_431(gate: Gate) -> None:
    for size in (17_000, 50_000):
        reply = await gate.call("GET", "/v1/rewards", headers={"x-long": "a" * size})
        assert_refused(reply, 431, 1005, "PAYLOAD_TOO_LARGE")
    # Over Envoy's own limit there is no trace to name.
    reply = await gate.call("GET", "/v1/rewards", headers={"x-long": "a" * 100_000})
    assert_refused(reply, 431, 1005, "PAYLOAD_TOO_LARGE")
    assert reply.headers["x-trace-id"] == "0" * 32


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
    got = arrived(gate, probe)
    assert (got.name, got.count, got.points, list(got.many_points), got.colour) == ("a bé", 4, 5, [1, 2], 2)
    assert (got.active, got.seen_at.seconds, got.amount, got.HasField("maybe")) == (True, 1767225600, 1.5, True)


async def test_a_verb_and_a_body_that_is_one_field_arrive(gate: Gate, probe: Probe) -> None:
    assert (await gate.call("PUT", "/v1/probes/a.b:replace", {"points": 5})).status == 200
    assert (arrived(gate, probe).name, arrived(gate, probe).inner.points) == ("a.b", 5)
    assert "lable" in violations(await gate.call("PUT", "/v1/probes/a:replace", {"lable": "x"}))


async def test_what_the_path_says_is_not_said_again(gate: Gate, probe: Probe) -> None:
    assert "name" in violations(await gate.call("POST", "/v1/probes/a:echo", {"name": "b"}))
    assert (await gate.call("POST", "/v1/probes/a:echo", {"points": 1})).status == 200
    assert arrived(gate, probe).name == "a"


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
        b"FOO /v1/rewards HTTP/1.1\r\nhost: x\r\n\r\n",
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
