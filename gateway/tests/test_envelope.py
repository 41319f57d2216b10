"""What leaves the gateway: the envelope, its agreement with the HTTP status, the numbers, and 304."""

import asyncio
from typing import Any

import pytest
from google.api.httpbody_pb2 import HttpBody
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from rewards.catalog.v1 import rewards_pb2
from rewards.errors.v1 import errors_pb2
from rewards.errors.v1.errors_pb2 import Reason
from rewards.identity.v1 import members_pb2
from rewards.ledger.v1 import points_pb2

from gateway.tests.gate import CHECK, Gate, Probe, Reply, assert_refused
from gateway.tests.upstreams import Answer, refusal

BALANCE = "PointsService/GetBalance"


async def balance(gate: Gate, **headers: str) -> Reply:
    return await gate.call("POST", "/v1/GetBalance", {"memberId": "m_1"}, headers=headers)


async def test_a_success_is_wrapped_and_its_points_are_numbers(gate: Gate) -> None:
    gate.answer("ledger_svc", BALANCE, Answer([points_pb2.GetBalanceResponse(balance=2**53, available=-5)]))
    reply = await balance(gate)
    assert reply.body == (
        b'{"IsSucessful":true,"ErrorCode":0,"ExceptionMessage":null,"ReturnObject":'
        b'{"balance":9007199254740992,"available":-5,"held":0,"pending":0}}'
    )
    assert (reply.status, reply.headers["content-length"]) == (200, str(len(reply.body)))


async def test_only_what_the_protos_call_a_number_is_unquoted(gate: Gate, probe: Probe) -> None:
    everything: Any = probe["Everything"](points=5, many_points=[1, -2], totals={"points": 3}, maybe=0, unsigned=7)
    everything.name = '"points":"5" \\" \u2028 \U0001f600'
    everything.attributes.update({"points": "5", "nested": {"balance": "12", "list": ["1", {"points": "2"}]}})
    everything.anything.string_value = "8"
    everything.inner.points, everything.inner.label = 9, "9"
    everything.inners.add(points=10)
    everything.nested.nested.wrapped.value = 11
    gate.answer("probe_svc", "ProbeService/Echo", Answer([everything]))
    got = (await gate.call("POST", "/v1/probes", {})).json["ReturnObject"]
    assert (got["points"], got["manyPoints"], got["maybe"], got["unsigned"]) == (5, [1, -2], 0, 7)
    assert got["name"] == everything.name
    assert got["attributes"] == {"points": "5", "nested": {"balance": "12", "list": ["1", {"points": "2"}]}}
    assert (got["anything"], got["totals"]) == ("8", {"points": "3"})
    assert (got["inner"], got["inners"]) == ({"points": 9, "label": "9"}, [{"points": 10, "label": ""}])
    assert got["nested"]["nested"]["wrapped"] == 11


async def test_response_body_is_what_stands_in_the_envelope(gate: Gate) -> None:
    member = members_pb2.Member(member_id="m_1", etag="e")
    gate.answer("identity_svc", "MembersService/GetProfile", Answer([members_pb2.GetProfileResponse(member=member)]))
    reply = await gate.call("POST", "/v1/GetProfile", {"memberId": "m_1"})
    assert reply.json["ReturnObject"]["memberId"] == "m_1"
    gate.answer("identity_svc", "MembersService/GetProfile", Answer([members_pb2.GetProfileResponse()]))
    reply = await gate.call("POST", "/v1/GetProfile", {"memberId": "m_1"})
    assert (reply.status, reply.json["ReturnObject"]) == (200, None)


@pytest.mark.parametrize("reason", [name for name in Reason.keys() if Reason.Value(name)])  # noqa: SIM118
async def test_every_reason_leaves_with_its_number_and_status(gate: Gate, reason: str) -> None:
    spec = Reason.DESCRIPTOR.values_by_name[reason].GetOptions().Extensions[errors_pb2.spec]
    gate.answer("ledger_svc", BALANCE, refusal(spec.code, "Said by the service.", reason))
    reply = await balance(gate)
    assert assert_refused(reply, spec.http_status, Reason.Value(reason), reason) == {}
    # What a service says of a fault of its own is not for the world.
    assert (reply.json["ExceptionMessage"] == "Said by the service.") == (spec.http_status < 500)
    assert ("retry-after" in reply.headers) == (reason in {"UNAVAILABLE", "RATE_LIMITED"})


async def test_numbers_of_a_typed_detail_are_numbers(gate: Gate) -> None:
    shortfall = errors_pb2.Shortfall(available=400, requested=2**53)
    gate.answer("ledger_svc", BALANCE, refusal(9, 'Not "enough" \\ \n.', "INSUFFICIENT_POINTS", shortfall, RetryInfo()))
    reply = await balance(gate)
    details = assert_refused(reply, 422, 4001, "INSUFFICIENT_POINTS")
    assert details == {"available": 400, "requested": 2**53}
    assert reply.json["ExceptionMessage"] == 'Not "enough" \\ \n.'


async def test_field_violations_of_a_service_are_named(gate: Gate) -> None:
    violation = BadRequest.FieldViolation(field="recipient.email", description='must be "x"', reason="R")
    gate.answer("ledger_svc", BALANCE, refusal(3, "bad", "INVALID_REQUEST", BadRequest(field_violations=[violation])))
    details = assert_refused(await balance(gate), 400, 1000, "INVALID_REQUEST")
    assert details == {"fieldViolations": [{"field": "recipient.email", "description": 'must be "x"'}]}


CODES_WITHOUT_REASON = [
    (3, 400, 1000, "INVALID_REQUEST"),
    (5, 404, 1004, "NOT_FOUND"),
    (6, 409, 1006, "CONFLICT"),
    (7, 403, 2003, "PERMISSION_DENIED"),
    (8, 429, 2004, "RATE_LIMITED"),
    (16, 401, 2001, "UNAUTHENTICATED"),
    (1, 503, 9002, "UNAVAILABLE"),
    (2, 500, 9001, "INTERNAL"),
    (12, 500, 9001, "INTERNAL"),
    (13, 500, 9001, "INTERNAL"),
    (14, 503, 9002, "UNAVAILABLE"),
    (4, 504, 9003, "TIMEOUT"),
]


@pytest.mark.parametrize(("code", "status", "number", "reason"), CODES_WITHOUT_REASON)
async def test_a_status_without_a_reason_gets_one(gate: Gate, code: int, status: int, number: int, reason: str) -> None:
    bare = Answer(status=Status(code=code, message="pg: relation x"))
    for answer in (bare, refusal(code, "pg: relation x", "NO_SUCH_REASON")):
        gate.answer("ledger_svc", BALANCE, answer)
        reply = await balance(gate)
        assert_refused(reply, status, number, reason)
        assert status < 500 or b"pg:" not in reply.body + str(reply.headers).encode()


async def test_a_detail_that_nobody_knows_does_not_hide_the_refusal(gate: Gate) -> None:
    status = Status(code=13, message="secret")
    status.details.add(type_url="type.googleapis.com/no.such.Type", value=b"secret")
    gate.answer("ledger_svc", BALANCE, Answer(status=status))
    reply = await balance(gate)
    assert_refused(reply, 500, 9001, "INTERNAL")
    assert b"secret" not in reply.body + str(reply.headers).encode()


async def test_initial_metadata_becomes_headers_also_of_a_refusal(gate: Gate) -> None:
    headers = (("idempotency-replayed", "true"), ("retry-after", "7"), ("etag", 'W/"1"'), ("cache-control", "no-store"))
    done = Answer([points_pb2.GetBalanceResponse()], headers=headers)
    for answer in (done, refusal(10, "busy", "IDEMPOTENCY_IN_FLIGHT", headers=headers)):
        gate.answer("ledger_svc", BALANCE, answer)
        reply = await balance(gate)
        assert {name: reply.headers[name] for name, _ in headers} == dict(headers)
        assert "grpc-status-details-bin" not in reply.headers
        assert "grpc-message" not in reply.headers


async def test_not_modified_has_an_etag_and_no_body(gate: Gate) -> None:
    page = rewards_pb2.ListRewardsResponse(rewards=[rewards_pb2.Reward(reward_id="r")])
    headers = (("etag", 'W/"1"'), ("x-rewards-not-modified", "1"))
    gate.answer("catalog_svc", "RewardsService/ListRewards", Answer([page], headers=headers))
    reply = await gate.call("GET", "/v1/rewards", headers={"if-none-match": 'W/"1"'})
    assert (reply.status, reply.body, reply.headers["etag"]) == (304, b"", 'W/"1"')
    assert "x-rewards-not-modified" not in reply.headers
    assert gate.calls("catalog_svc", "RewardsService/ListRewards")[-1].metadata["if-none-match"] == 'W/"1"'


async def test_a_long_answer_is_compressed_after_it_was_wrapped(gate: Gate) -> None:
    page = rewards_pb2.ListRewardsResponse(rewards=[rewards_pb2.Reward(reward_id=f"r{n}") for n in range(500)])
    answer = Answer([page], headers=(("etag", '"1"'),))
    gate.answer("catalog_svc", "RewardsService/ListRewards", answer)
    reply = await gate.call("GET", "/v1/rewards", headers={"accept-encoding": "gzip"})
    assert (reply.headers["content-encoding"], reply.headers["etag"]) == ("gzip", 'W/"1"')
    assert len(reply.json["ReturnObject"]["rewards"]) == 500


@pytest.mark.parametrize("size", [3 << 20, (4 << 20) - 300, 5 << 20])
async def test_an_answer_over_the_limit_is_a_whole_500(gate: Gate, probe: Probe, size: int) -> None:
    gate.answer("probe_svc", "ProbeService/Echo", Answer([probe["Everything"](name="x" * size)]))
    assert_refused(await gate.call("POST", "/v1/probes", {}), 500, 9001, "INTERNAL")


async def test_an_answer_that_grows_over_the_limit_is_a_whole_500(gate: Gate, probe: Probe) -> None:
    # Two bytes of protobuf are 24 of JSON: within the transcoder's limit, and close to the buffer's.
    everything: Any = probe["Everything"]()
    for _ in range(174_700):
        everything.inners.add()
    gate.answer("probe_svc", "ProbeService/Echo", Answer([everything]))
    assert_refused(await gate.call("POST", "/v1/probes", {}), 500, 9001, "INTERNAL")


async def test_a_service_that_is_too_slow_is_a_504(gate: Gate) -> None:
    forever = asyncio.Event()
    gate.answer("ledger_svc", BALANCE, Answer(wait=forever.wait))
    reply = await balance(gate, **{"grpc-timeout": "200m"})
    assert_refused(reply, 504, 9003, "TIMEOUT")


@pytest.mark.parametrize(
    ("token", "status", "number", "reason"),
    [
        ("expired", 401, 2002, "TOKEN_EXPIRED"),
        ("narrow", 403, 2003, "PERMISSION_DENIED"),
    ],
)
async def test_the_gatekeepers_denial_is_wrapped(gate: Gate, token: str, status: int, number: int, reason: str) -> None:
    reply = await balance(gate, authorization=f"Bearer {token}")
    assert_refused(reply, status, number, reason)
    assert ("www-authenticate" in reply.headers) == (status == 401)
    assert gate.services["ledger_svc"].seen == []


async def test_without_the_gatekeeper_nothing_passes(gate: Gate) -> None:
    del gate.services["identity_svc"].answers[CHECK]
    reply = await balance(gate)
    assert_refused(reply, 503, 9002, "UNAVAILABLE")
    assert reply.headers["retry-after"] == "1"
    assert gate.services["ledger_svc"].seen == []


async def test_raw_answers_carry_no_envelope(gate: Gate) -> None:
    csv = Answer([HttpBody(content_type="text/csv", data=b"a,b\n1,2\n")])
    gate.answer("probe_svc", "ProbeService/Export", csv)
    reply = await gate.call("GET", "/v1/probes:export")
    assert (reply.status, reply.headers["content-type"], reply.body) == (200, "text/csv", b"a,b\n1,2\n")
    gate.answer("probe_svc", "ProbeService/Export", refusal(5, "gone", "ORDER_NOT_FOUND"))
    assert_refused(await gate.call("GET", "/v1/probes:export"), 404, 5012, "ORDER_NOT_FOUND")
    keys = Answer([HttpBody(content_type="application/json", data=b'{"keys":[]}')])
    gate.answer("probe_svc", "ProbeService/Keys", keys)
    assert (await gate.call("GET", "/.well-known/probe.json")).body == b'{"keys":[]}'


async def test_events_reach_the_caller_one_by_one(gate: Gate) -> None:
    forever = asyncio.Event()
    first = HttpBody(content_type="text/event-stream", data=b"data: 1\n\n")
    gate.answer("probe_svc", "ProbeService/Watch", Answer([first], wait=forever.wait))
    url = f"http://{gate.address}/v1/probes:watch"
    async with gate.session.get(url, headers={"authorization": "Bearer good"}) as got:
        assert got.headers["content-type"] == "text/event-stream"
        assert await got.content.readuntil(b"\n\n") == b"data: 1\n\n"
        # A stream has no deadline; the next event may be hours away.
        assert gate.calls("probe_svc", "ProbeService/Watch")[-1].remaining_s is None
