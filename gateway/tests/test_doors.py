"""Who gets in by which door, and what of a caller's words is believed."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from envoy_min import authz_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from rewards.identity.v1 import credentials_pb2, credentials_pb2_grpc, tokens_pb2
from rewards.ledger.v1 import points_pb2, points_pb2_grpc

from gateway.tests.gate import CHECK, COUNTED, Gate
from gateway.tests.upstreams import Answer, refusal

BALANCE = "PointsService/GetBalance"
GOOD = (("authorization", "Bearer good"),)
REQUEST = points_pb2.GetBalanceRequest(member_id="m")


@asynccontextmanager
async def points(gate: Gate) -> AsyncIterator["points_pb2_grpc.PointsServiceAsyncStub"]:
    async with grpc.aio.insecure_channel(gate.address) as channel:
        yield points_pb2_grpc.PointsServiceStub(channel)


async def test_nothing_that_a_caller_says_of_itself_is_believed(gate: Gate) -> None:
    gate.answer("ledger_svc", BALANCE, Answer([points_pb2.GetBalanceResponse()]))
    forged = {
        "X-Rewards-Program": "evil",
        "x-rewards-member": "evil",
        "x-rewards-limits": "evil",
        "x-rewards-anything": "evil",
        "x-envoy-original-path": "/evil",
        "x-envoy-original-method": "evil",
        "x-envoy-retry-on": "evil",
        "x-envoy-max-retries": "evil",
        "x-envoy-anything": "evil",
        "x-forwarded-client-cert": "evil",
        "x-trace-id": "evil",
        "x-request-id": "evil",
    }
    assert (await gate.call("POST", "/v1/GetBalance", {"memberId": "m"}, headers=forged)).status == 200
    async with points(gate) as stub:
        await stub.GetBalance(REQUEST, metadata=(*GOOD, *((name.lower(), text) for name, text in forged.items())))
    for seen in gate.calls("ledger_svc", BALANCE):
        assert "evil" not in str(seen.metadata)
        assert "x-envoy-internal" not in seen.metadata
        principal = {name: text for name, text in seen.metadata.items() if name.startswith("x-rewards-")}
        assert principal == {
            "x-rewards-kind": "partner",
            "x-rewards-program": "acme",
            "x-rewards-credential": "good",
            "x-rewards-scopes": "a b",
            "x-rewards-limits": COUNTED,
        }
    asked = [authz_pb2.CheckRequest.FromString(seen.request) for seen in gate.services["identity_svc"].calls(CHECK)]
    assert [request.attributes.request.http.headers.get("x-envoy-original-path") for request in asked] == [
        "/v1/GetBalance",
        None,
    ]


async def test_the_gatekeeper_is_asked_about_the_rpc(gate: Gate) -> None:
    gate.answer("ledger_svc", BALANCE, Answer([points_pb2.GetBalanceResponse()]))
    headers = {"x-api-key": "rk", "cookie": "private", "idempotency-key": "k"}
    await gate.call("POST", "/v1/GetBalance", {"memberId": "m"}, headers=headers)
    (asked,) = gate.services["identity_svc"].calls(CHECK)
    http = authz_pb2.CheckRequest.FromString(asked.request).attributes.request.http
    assert http.path == "/rewards.ledger.v1.PointsService/GetBalance"
    assert http.headers["x-api-key"] == "rk"
    assert set(http.headers) == {
        "authorization",
        "x-api-key",
        "content-type",
        "x-envoy-original-path",
        "x-rewards-peer",
    }


async def test_services_get_a_deadline_and_no_credential(gate: Gate) -> None:
    gate.answer("ledger_svc", BALANCE, Answer([points_pb2.GetBalanceResponse()]))
    headers = {"x-api-key": "rk", "idempotency-key": "k"}
    await gate.call("POST", "/v1/GetBalance", {"memberId": "m"}, headers=headers)
    (seen,) = gate.calls("ledger_svc", BALANCE)
    assert seen.remaining_s is not None
    assert 4 < seen.remaining_s <= 5
    assert seen.metadata["idempotency-key"] == "k"
    assert {"authorization", "x-api-key", "x-envoy-original-path"}.isdisjoint(seen.metadata)


async def test_where_all_may_enter_the_service_reads_the_credential(gate: Gate) -> None:
    gate.answer("identity_svc", "TokenService/IssueToken", Answer([tokens_pb2.IssueTokenResponse()]))
    basic = "Basic " + base64.b64encode(b"id:secret").decode()
    form = {"content-type": "application/x-www-form-urlencoded", "authorization": basic}
    await gate.call("POST", "/oauth/token", raw=b"grant_type=client_credentials", headers=form)
    (seen,) = gate.calls("identity_svc", "TokenService/IssueToken")
    assert seen.metadata["authorization"] == basic
    sent = tokens_pb2.IssueTokenRequest.FromString(seen.request).form
    assert (sent.content_type, sent.data) == ("application/x-www-form-urlencoded", b"grant_type=client_credentials")


async def test_native_grpc_needs_the_same_credential(gate: Gate) -> None:
    gate.answer("ledger_svc", BALANCE, Answer([points_pb2.GetBalanceResponse(balance=5)]))
    async with points(gate) as stub:
        assert (await stub.GetBalance(REQUEST, metadata=GOOD)).balance == 5
        for token, code, text in (
            ("expired", grpc.StatusCode.UNAUTHENTICATED, "The token has expired."),
            ("narrow", grpc.StatusCode.PERMISSION_DENIED, "This operation needs the scope points:write."),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as denied:
                await stub.GetBalance(REQUEST, metadata=(("authorization", f"Bearer {token}"),))
            assert (denied.value.code(), denied.value.details()) == (code, text)
    assert len(gate.calls("ledger_svc", BALANCE)) == 1


async def test_native_grpc_gets_statuses_with_their_details(gate: Gate) -> None:
    gate.answer("ledger_svc", BALANCE, refusal(9, "Too few.", "INSUFFICIENT_POINTS"))
    async with points(gate) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetBalance(REQUEST, metadata=GOOD)
        status: status_pb2.Status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
        info = error_details_pb2.ErrorInfo()
        status.details[0].Unpack(info)
        assert (info.reason, status.message) == ("INSUFFICIENT_POINTS", "Too few.")
        del gate.services["identity_svc"].answers[CHECK]
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.GetBalance(REQUEST, metadata=GOOD)
        assert (failed.value.code(), failed.value.details()) == (
            grpc.StatusCode.UNAVAILABLE,
            "The service is unavailable.",
        )


async def test_operators_enter_by_native_grpc_only(gate: Gate) -> None:
    gate.answer("identity_svc", "CredentialsService/PutPlan", Answer([credentials_pb2.PutPlanResponse()]))
    path = "/rewards.identity.v1.CredentialsService/PutPlan"
    async with grpc.aio.insecure_channel(gate.address) as channel:
        await credentials_pb2_grpc.CredentialsServiceStub(channel).PutPlan(
            credentials_pb2.PutPlanRequest(), metadata=GOOD
        )
    assert (await gate.call("POST", path, {})).status == 404
    grpc_web = {"content-type": "application/grpc-web+proto"}
    assert (await gate.call("POST", path, raw=b"\0\0\0\0\0", headers=grpc_web)).status == 404
    assert (await gate.call("GET", path, headers={"content-type": "application/grpc"})).status == 404
    assert len(gate.calls("identity_svc", "CredentialsService/PutPlan")) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/rewards.ledger.v1.JournalService/PlaceHold",
        "/rewards.ledger.v1.MemberDirectoryService/StoreMember",
        "/rewards.identity.v1.ProgramDirectoryService/StoreProgram",
        "/rewards.fulfillment.v1.EventsService/PublishEvents",
        "/rewards.catalog.v1.CatalogService/QuoteReward",
        "/rewards.probe.v1.ProbeService/Inside",
        "/rewards.probe.v1.ProbeService/Undeclared",
        CHECK,
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/rewards.ledger.v1.PointsService/GetBalance/",
        "/rewards.ledger.v1.PointsService/",
    ],
)
async def test_what_is_not_published_is_not_there(gate: Gate, path: str) -> None:
    before = len(gate.services["identity_svc"].seen)
    async with grpc.aio.insecure_channel(gate.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as missing:
            await channel.unary_unary(path)(b"", metadata=GOOD)  # type: ignore[arg-type]
    assert missing.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert (await gate.call("POST", path, {})).status == 404
    assert (await gate.call("POST", path, raw=b"", headers={"content-type": "application/grpc;x"})).status == 404
    assert [seen.path for service in gate.services.values() for seen in service.seen][before:] == []


async def test_a_grpc_type_on_a_rest_path_does_not_skip_the_checks(gate: Gate) -> None:
    for kind in ("application/grpc", "application/grpc+proto", "application/grpc;x"):
        reply = await gate.call("POST", "/v1/GetBalance", raw=b'{"member": "m"}', headers={"content-type": kind})
        assert reply.status == 415
    assert gate.services["ledger_svc"].seen == []


async def test_health_is_answered_by_the_gateway_itself(gate: Gate) -> None:
    reply = await gate.call("GET", "/healthz", headers={"authorization": ""})
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["x-request-id"]
    assert reply.headers["x-trace-id"]


async def test_a_browser_may_ask_first(gate: Gate) -> None:
    headers = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    reply = await gate.call("OPTIONS", "/v1/GetBalance", headers=headers)
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, "https://shop.example")
    assert "idempotency-key" in reply.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in reply.headers
    gate.answer("ledger_svc", BALANCE, Answer([points_pb2.GetBalanceResponse()]))
    for body in ({"memberId": "m"}, {"wrong": 1}):
        asked = await gate.call("POST", "/v1/GetBalance", body, headers={"origin": "https://shop.example"})
        assert asked.headers["access-control-allow-origin"] == "https://shop.example"
        assert "x-trace-id" in asked.headers["access-control-expose-headers"]


async def test_many_requests_at_once_do_not_mix(gate: Gate) -> None:
    def doubled(seen: object) -> Answer:
        request = points_pb2.GetBalanceRequest.FromString(seen.request)  # type: ignore[attr-defined]
        return Answer([points_pb2.GetBalanceResponse(balance=2 * int(request.member_id))])

    gate.services["ledger_svc"].answers["/rewards.ledger.v1.PointsService/GetBalance"] = doubled
    replies = await asyncio.gather(
        *(gate.call("POST", "/v1/GetBalance", {"memberId": str(n)} if n % 3 else {"wrong": n}) for n in range(150))
    )
    for number, reply in enumerate(replies):
        if number % 3:
            assert reply.json["ReturnObject"]["balance"] == 2 * number
        else:
            assert reply.json["ErrorCode"] == 1000
