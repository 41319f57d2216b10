"""Limits as Envoy holds them: whom it has counted, what it tells everybody, and whose refusal goes first."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from envoy_min import rls_pb2
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from rewards.identity.v1 import limits_pb2, tokens_pb2
from rewards.ledger.v1 import points_pb2, points_pb2_grpc

from gateway.tests.gate import LIMIT, NARROW, Gate, Reply, assert_refused, limiter
from gateway.tests.upstreams import Answer

BALANCE = "PointsService/GetBalance"
REQUEST = points_pb2.GetBalanceRequest(member_id="m")
TOLD = {"x-ratelimit-limit": "40", "x-ratelimit-remaining": "7", "x-ratelimit-reset": "2"}
PASSED = limiter(0, "", "", TOLD)
LIMITED = limiter(8, "RATE_LIMITED", "Too many requests.", TOLD)
SPENT = limiter(8, "QUOTA_EXHAUSTED", "The day's quota is used up.", TOLD)
UNREADABLE = limiter(14, "UNAVAILABLE", "The quota cannot be read now.", {})


@pytest.fixture
def counted(gate: Gate) -> Gate:
    """A gate before a service that answers."""
    gate.answer("ledger_svc", BALANCE, Answer([points_pb2.GetBalanceResponse(balance=5)]))
    return gate


@asynccontextmanager
async def points(gate: Gate) -> AsyncIterator["points_pb2_grpc.PointsServiceAsyncStub"]:
    async with grpc.aio.insecure_channel(gate.address) as channel:
        yield points_pb2_grpc.PointsServiceStub(channel)


async def balance(gate: Gate, token: str) -> Reply:
    return await gate.call("POST", "/v1/GetBalance", {"memberId": "m"}, headers={"authorization": f"Bearer {token}"})


async def test_who_is_limited_and_by_what(gate: Gate) -> None:
    gate.answer("ledger_svc", BALANCE, Answer([points_pb2.GetBalanceResponse()]))
    gate.answer("identity_svc", "TokenService/IssueToken", Answer([tokens_pb2.IssueTokenResponse()]))
    await balance(gate, "good")
    await gate.call("POST", "/oauth/token", raw=b"{}", headers={"authorization": ""})
    asked = [rls_pb2.RateLimitRequest.FromString(seen.request) for seen in gate.services["ratelimit"].calls(LIMIT)]
    known, unknown = [{e.key: e.value for e in request.descriptors[0].entries} for request in asked]
    assert [len(request.descriptors) for request in asked] == [1, 1]
    assert known == {"credential": "good", "rps": "20", "burst": "40", "daily": "1000", "cost": "1"}
    assert {"remote_address": "127.0.0.1", "rps": "50", "burst": "200", "cost": "1"}.items() <= unknown.items()


@pytest.mark.parametrize(
    ("token", "answer", "status", "number", "reason"),
    [
        ("good", LIMITED, 429, 2004, "RATE_LIMITED"),
        ("good", SPENT, 429, 2005, "QUOTA_EXHAUSTED"),
        ("good", UNREADABLE, 503, 9002, "UNAVAILABLE"),
        ("narrow", PASSED, 403, 2003, "PERMISSION_DENIED"),
        ("narrow", LIMITED, 403, 2003, "PERMISSION_DENIED"),
        ("narrow", SPENT, 403, 2003, "PERMISSION_DENIED"),
        ("expired", SPENT, 401, 2002, "TOKEN_EXPIRED"),
    ],
)
async def test_a_refusal_names_its_reason_and_401_goes_before_403_before_429(
    counted: Gate, token: str, answer: Answer, status: int, number: int, reason: str
) -> None:
    counted.services["ratelimit"].answers[LIMIT] = answer
    reply = await balance(counted, token)
    assert_refused(reply, status, number, reason)
    assert reply.headers.get("retry-after") == ("3" if status in {429, 503} else None)
    asked = len(counted.services["ratelimit"].calls(LIMIT))
    assert asked == (0 if status == 401 else 1)
    told = {name: reply.headers.get(name) for name in TOLD}
    assert told == (dict.fromkeys(TOLD) if status in {401, 503} else TOLD)
    assert counted.services["ledger_svc"].seen == []


@pytest.mark.parametrize(
    ("token", "answer", "code", "reason", "text"),
    [
        ("good", LIMITED, grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", "Too many requests."),
        ("good", SPENT, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXHAUSTED", "The day's quota is used up."),
        ("good", UNREADABLE, grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE", "The quota cannot be read now."),
        ("narrow", LIMITED, grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED", NARROW),
    ],
)
async def test_native_grpc_is_refused_alike(
    counted: Gate, token: str, answer: Answer, code: grpc.StatusCode, reason: str, text: str
) -> None:
    counted.services["ratelimit"].answers[LIMIT] = answer
    async with points(counted) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetBalance(REQUEST, metadata=(("authorization", f"Bearer {token}"),))
    assert (refused.value.code(), refused.value.details()) == (code, text)
    status: Status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == reason
    # An answer that is a refusal and nothing else has one block of headers, which grpcio calls the trailing one.
    metadata = dict(refused.value.trailing_metadata())
    assert metadata.get("retry-after") == (None if token == "narrow" else "3")
    assert metadata.get("x-ratelimit-remaining") == (None if reason == "UNAVAILABLE" else "7")
    assert counted.services["ledger_svc"].seen == []


async def test_the_token_routes_are_limited_in_oauths_words(gate: Gate) -> None:
    gate.services["ratelimit"].answers[LIMIT] = LIMITED
    reply = await gate.call("POST", "/oauth/token", raw=b"{}", headers={"authorization": ""})
    assert (reply.status, reply.json["error"], reply.headers["retry-after"]) == (429, "temporarily_unavailable", "3")
    assert gate.services["identity_svc"].calls("TokenService/IssueToken") == []


async def test_what_the_limiter_has_counted_goes_on_to_the_service(gate: Gate) -> None:
    gate.answer("identity_svc", "LimitsService/GetLimits", Answer([limits_pb2.GetLimitsResponse()]))
    passed = rls_pb2.RateLimitResponse(overall_code=rls_pb2.RateLimitResponse.OK)
    passed.request_headers_to_add.add(key="x-rewards-limits", value="20 40 39 1 1000 999 60")
    gate.services["ratelimit"].answers[LIMIT] = Answer([passed])
    reply = await gate.call("GET", "/v1/limits", headers={"x-rewards-limits": "1 1 1 1 1 1 1"})
    assert reply.status == 200
    (seen,) = gate.calls("identity_svc", "LimitsService/GetLimits")
    assert seen.metadata["x-rewards-limits"] == "20 40 39 1 1000 999 60"
