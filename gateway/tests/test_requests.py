"""What enters in a body: every field is known, stands once, is of its type, and arrives as it was sent."""

import json
from typing import Any

import pytest
from rewards.ledger.v1 import points_pb2

from gateway.tests import http2
from gateway.tests.gate import AUTH, ECHO, Gate, Probe, Reply, assert_refused, violations
from gateway.tests.upstreams import Answer


@pytest.fixture(autouse=True)
def _echo(gate: Gate, probe: Probe) -> None:
    gate.answer("probe_svc", ECHO, Answer([probe["Everything"]()]))
    gate.answer("ledger_svc", "PointsService/GetBalance", Answer([points_pb2.GetBalanceResponse()]))
    gate.answer("ledger_svc", "PointsService/RedeemPoints", Answer([points_pb2.RedeemPointsResponse()]))


async def sent(gate: Gate, body: str | bytes) -> Reply:
    raw = body.encode() if isinstance(body, str) else body
    return await gate.call("POST", "/v1/probes", raw=raw, headers={"content-type": "application/json"})


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


async def test_the_message_says_what_the_violations_say(gate: Gate) -> None:
    reply = await sent(gate, '{"pints": 5, "points": 1.5}')
    assert reply.json["ExceptionMessage"] == (
        "The request is not valid. pints is not a field of this request; "
        "points must be an integer, without fraction or exponent."
    )
    assert violations(reply) == {
        "pints": "is not a field of this request",
        "points": "must be an integer, without fraction or exponent",
    }


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
    message = gate.arrived(probe)
    assert {name: getattr(message, name) for name in wanted} == wanted


async def test_free_subtrees_arrive_as_they_are(gate: Gate, probe: Probe) -> None:
    attributes = {"anything": {"goes": ["here", {"points": "5", "x": None}]}, "n": 1.5, "b": False}
    body = {"attributes": attributes, "anything": [1, {"a": "b"}], "totals": {"x": 3}}
    assert (await gate.call("POST", "/v1/probes", body)).status == 200
    message = gate.arrived(probe)
    assert message.attributes["anything"]["goes"][1]["points"] == "5"
    assert (message.totals["x"], message.attributes["b"]) == (3, False)


async def test_thirty_two_levels_pass_all_the_way(gate: Gate, probe: Probe) -> None:
    body = '{"attributes":{"a":' + "[" * 30 + "]" * 30 + "}}"
    assert (await sent(gate, body)).status == 200
    assert len(gate.arrived(probe).attributes["a"]) == 1


async def test_a_megabyte_passes_and_more_is_1005(gate: Gate, probe: Probe) -> None:
    frame = len('{"name":""}')
    assert (await sent(gate, '{"name":"' + "x" * ((1 << 20) - frame) + '"}')).status == 200
    assert len(gate.arrived(probe).name) == (1 << 20) - frame
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


async def test_http2_carries_the_same(gate: Gate, probe: Probe) -> None:
    """Its limits are a stream's own: set too low, they would cut requests and answers that HTTP/1.1 takes."""
    frame = len('{"name":""}')
    name = "x" * ((1 << 20) - frame)
    answer = probe["Everything"](name="y" * (3_000_000))
    gate.answer("probe_svc", ECHO, Answer([answer]))
    whole = await http2.post(gate.address, "/v1/probes", f'{{"name":"{name}"}}'.encode(), AUTH)
    assert json.loads(whole)["ReturnObject"]["name"] == "y" * 3_000_000
    assert gate.arrived(probe).name == name
    for size in ((1 << 20) + 1, 2_000_000):
        refused = json.loads(await http2.post(gate.address, "/v1/probes", b" " * size, AUTH))
        assert refused["ErrorCode"] == 1005
    long = AUTH | {"x-long": "a" * 20_000}
    assert json.loads(await http2.post(gate.address, "/v1/probes", b"{}", long))["ErrorCode"] == 1005


async def test_long_headers_are_1005_with_431(gate: Gate) -> None:
    for size in (17_000, 50_000):
        reply = await gate.call("GET", "/v1/rewards", headers={"x-long": "a" * size})
        assert_refused(reply, 431, 1005, "PAYLOAD_TOO_LARGE")
    # Over Envoy's own limit there is no trace to name.
    reply = await gate.call("GET", "/v1/rewards", headers={"x-long": "a" * 100_000})
    assert_refused(reply, 431, 1005, "PAYLOAD_TOO_LARGE")
    assert reply.headers["x-trace-id"] == "0" * 32
