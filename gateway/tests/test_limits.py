"""Limits as Envoy holds them: by whose address, what it tells everybody, and in which words it refuses."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from envoy_min import authz_pb2
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from rewards.identity.v1 import limits_pb2, tokens_pb2
from rewards.ledger.v1 import points_pb2, points_pb2_grpc

from gateway.tests.gate import CHECK, COUNTED, Gate, Reply, assert_refused, over
from gateway.tests.upstreams import Answer, Seen

BALANCE = "PointsService/GetBalance"
REQUEST = points_pb2.GetBalanceRequest(member_id="m")
TOLD = {"x-ratelimit-limit": "40", "x-ratelimit-remaining": "7", "x-ratelimit-reset": "2"}
LIMITED = over(8, "RATE_LIMITED", "Too many requests.", TOLD)
SPENT = over(8, "QUOTA_EXHAUSTED", "The day's quota is used up.", TOLD)
UNREADABLE = over(14, "UNAVAILABLE", "The quota cannot be read now.", {})
Gatekeeper = Callable[[Seen], Answer]


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


@pytest.mark.parametrize("more", [{}, {"x-rewards-peer": "192.0.2.1"}, {"x-forwarded-for": "192.0.2.1"}])
async def test_the_gatekeeper_is_told_the_callers_address_by_envoy_and_by_nobody_else(
    gate: Gate, more: dict[str, str]
) -> None:
    gate.answer("identity_svc", "TokenService/IssueToken", Answer([tokens_pb2.IssueTokenResponse()]))
    await gate.call("POST", "/oauth/token", raw=b"{}", headers={"authorization": "", **more})
    (asked,) = gate.services["identity_svc"].calls(CHECK)
    headers = authz_pb2.CheckRequest.FromString(asked.request).attributes.request.http.headers
    assert headers["x-rewards-peer"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("gatekeeper", "status", "number", "reason"),
    [
        (LIMITED, 429, 2004, "RATE_LIMITED"),
        (SPENT, 429, 2005, "QUOTA_EXHAUSTED"),
        (UNREADABLE, 503, 9002, "UNAVAILABLE"),
    ],
)
async def test_a_refusal_names_its_reason_and_tells_the_limits(
    counted: Gate, gatekeeper: Gatekeeper, status: int, number: int, reason: str
) -> None:
    counted.services["identity_svc"].answers[CHECK] = gatekeeper
    reply = await balance(counted, "good")
    assert_refused(reply, status, number, reason)
    assert reply.headers.get("retry-after") == "3"
    told = {name: reply.headers.get(name) for name in TOLD}
    assert told == (dict.fromkeys(TOLD) if status == 503 else TOLD)
    assert counted.services["ledger_svc"].seen == []


@pytest.mark.parametrize(
    ("gatekeeper", "code", "reason", "text"),
    [
        (LIMITED, grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", "Too many requests."),
        (SPENT, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXHAUSTED", "The day's quota is used up."),
        (UNREADABLE, grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE", "The quota cannot be read now."),
    ],
)
async def test_native_grpc_is_refused_alike(
    counted: Gate, gatekeeper: Gatekeeper, code: grpc.StatusCode, reason: str, text: str
) -> None:
    counted.services["identity_svc"].answers[CHECK] = gatekeeper
    async with points(counted) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetBalance(REQUEST, metadata=(("authorization", "Bearer good"),))
    assert (refused.value.code(), refused.value.details()) == (code, text)
    status: Status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == reason
    # An answer that is a refusal and nothing else has one block of headers, which grpcio calls the trailing one.
    metadata = dict(refused.value.trailing_metadata())
    assert metadata.get("retry-after") == "3"
    assert metadata.get("x-ratelimit-remaining") == (None if reason == "UNAVAILABLE" else "7")
    assert counted.services["ledger_svc"].seen == []


async def test_the_token_routes_are_limited_in_oauths_words(gate: Gate) -> None:
    gate.services["identity_svc"].answers[CHECK] = LIMITED
    reply = await gate.call("POST", "/oauth/token", raw=b"{}", headers={"authorization": ""})
    assert (reply.status, reply.json["error"], reply.headers["retry-after"]) == (429, "temporarily_unavailable", "3")
    assert gate.services["identity_svc"].calls("TokenService/IssueToken") == []


async def test_what_was_counted_goes_on_to_the_service(gate: Gate) -> None:
    gate.answer("identity_svc", "LimitsService/GetLimits", Answer([limits_pb2.GetLimitsResponse()]))
    reply = await gate.call("GET", "/v1/limits", headers={"x-rewards-limits": "1 1 1 1 1 1 1"})
    assert reply.status == 200
    (seen,) = gate.calls("identity_svc", "LimitsService/GetLimits")
    assert seen.metadata["x-rewards-limits"] == COUNTED
