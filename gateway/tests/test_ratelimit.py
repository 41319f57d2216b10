"""The rate-limit service over the wire, as Envoy calls it."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from envoy_min import rls_pb2, rls_pb2_grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from devmesh.pki import Authority
from gateway.ratelimit.buckets import Limiter, OwnBuckets, RedisBuckets
from gateway.ratelimit.quotas import Quotas
from gateway.ratelimit.servicer import RateLimitServicer
from gateway.tests.owner import DAY_S, Owner
from svckit import telemetry
from svckit.clients import open_channel
from svckit.testing import serving

NOWHERE = "unix:///nowhere/redis.sock"
OK = rls_pb2.RateLimitResponse.Code.OK
Ask = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def owner() -> Owner:
    return Owner()


@pytest.fixture
async def address(owner: Owner, authority: Authority) -> AsyncIterator[str]:
    # Without Redis: what limiters share is another test's matter.
    shared = RedisBuckets(NOWHERE)
    servicer = RateLimitServicer(Limiter(OwnBuckets(), shared), Quotas(owner.lease, owner.clock))
    async with serving(authority.issue("ratelimit"), [servicer]) as address:
        yield address
    await shared.close()


def question(**entries: object) -> rls_pb2.RateLimitRequest:
    pairs = [rls_pb2.Entry(key=key, value=str(value)) for key, value in entries.items()]
    return rls_pb2.RateLimitRequest(domain="rewards", descriptors=[rls_pb2.RateLimitDescriptor(entries=pairs)])


@pytest.fixture
async def ask(address: str, authority: Authority) -> AsyncIterator[Ask]:
    """Asks as the gateway; gives what the caller is told, what the service is told, and the refusal."""
    async with open_channel(address, "ratelimit", authority.issue("gateway")) as channel:

        async def asked(**entries: object) -> dict[str, Any]:
            answer = await rls_pb2_grpc.RateLimitServiceStub(channel).ShouldRateLimit(question(**entries))
            assert answer.overall_code == OK
            told = {header.key.removeprefix("x-ratelimit-"): header.value for header in answer.response_headers_to_add}
            if "refusal" in answer.dynamic_metadata:
                assert not answer.request_headers_to_add
                return {**told, "refusal": MessageToDict(answer.dynamic_metadata)["refusal"]}
            (counted,) = answer.request_headers_to_add
            return {**told, counted.key: counted.value}

        yield asked


async def test_the_window_that_is_nearest_its_end_is_told(ask: Ask, owner: Owner) -> None:
    owner.now_s = DAY_S - 60
    plan = {"credential": "c", "rps": 1, "burst": 5, "daily": 10}
    rate = await ask(**plan, cost=2)
    assert rate == {"limit": "5", "remaining": "3", "reset": "2", "x-rewards-limits": "1 5 3 2 10 8 60"}
    day = await ask(credential="d", rps=1, burst=50, daily=10, cost=2)
    assert day == {"limit": "10", "remaining": "8", "reset": "60", "x-rewards-limits": "1 50 48 2 10 8 60"}


async def test_who_comes_too_fast_is_told_when_to_come_again(ask: Ask) -> None:
    plan = {"credential": "c", "rps": 1, "burst": 5, "daily": 1_000}
    await ask(**plan, cost=4)
    over = await ask(**plan, cost=3)
    refusal = over.pop("refusal")
    assert over.keys() == {"limit", "remaining", "reset"}
    assert (refusal["grpc-status"], refusal["grpc-message"]) == ("8", "Too many requests.")
    assert refusal["retry-after"] in {"1", "2"}
    # It was not paid for either.
    assert (await ask(**plan, cost=1))["x-rewards-limits"].split()[5] == "995"


async def test_whose_quota_is_used_up_is_told_to_come_tomorrow(ask: Ask, owner: Owner) -> None:
    owner.now_s = DAY_S - 60
    plan = {"credential": "c", "rps": 1, "burst": 5, "daily": 4}
    await ask(**plan, cost=3)
    over = await ask(**plan, cost=2)
    refusal = over.pop("refusal")
    assert over == {"limit": "4", "remaining": "1", "reset": "60"}
    assert (refusal["grpc-message"], refusal["retry-after"]) == ("The day's quota is used up.", "60")
    # It did not count for the rate either.
    assert (await ask(**plan, cost=1))["x-rewards-limits"].split()[2] == "1"


async def test_a_quota_that_cannot_be_read_lets_nothing_through(ask: Ask, owner: Owner) -> None:
    owner.lost = 1
    answer = await ask(credential="c", rps=1, burst=5, daily=4, cost=1)
    refusal = answer.pop("refusal")
    assert (answer, refusal["grpc-status"], refusal["retry-after"]) == ({}, "14", "1")


async def test_an_address_has_a_rate_and_no_quota(ask: Ask, owner: Owner) -> None:
    passed = await ask(remote_address="c", rps=1, burst=5, cost=5)
    assert passed == {"limit": "5", "remaining": "0", "reset": "5", "x-rewards-limits": "1 5 0 5"}
    assert (await ask(remote_address="c", rps=1, burst=5, cost=1))["refusal"]["grpc-status"] == "8"
    # A credential of the same name is somebody else.
    assert "refusal" not in await ask(credential="c", rps=1, burst=5, daily=9, cost=5)
    assert owner.asked == 1


async def test_nobody_but_the_gateway_may_ask(address: str, authority: Authority) -> None:
    request = question(credential="c", rps=1, burst=5, daily=1, cost=1)
    async with open_channel(address, "ratelimit", authority.issue("ledger_svc")) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await rls_pb2_grpc.RateLimitServiceStub(channel).ShouldRateLimit(request)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    "entries",
    [
        {"credential": "c", "rps": 1, "burst": 5, "daily": 1},
        {"credential": "c", "rps": 1, "burst": 5, "cost": 1},
        {"credential": "c", "rps": 1, "burst": 5, "daily": 1, "cost": "x"},
        {"credential": "c", "rps": 0, "burst": 5, "daily": 1, "cost": 1},
        {"credential": "c", "rps": 1, "burst": 5, "daily": 0, "cost": 1},
        {"somebody": "c", "rps": 1, "burst": 5, "daily": 1, "cost": 1},
        {},
    ],
)
async def test_what_envoy_does_not_send_is_refused(ask: Ask, entries: dict[str, object]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(**entries)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("flags", ["00", "01"])
async def test_a_refusal_is_logged_under_its_trace_whether_that_is_kept_or_not(
    address: str, authority: Authority, caplog: pytest.LogCaptureFixture, flags: str
) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    caplog.set_level(logging.INFO, "svckit.interceptors")
    async with open_channel(address, "ratelimit", authority.issue("gateway")) as channel:
        limits = rls_pb2_grpc.RateLimitServiceStub(channel)
        sent = (("traceparent", f"00-{trace_id}-00f067aa0ba902b7-{flags}"),)
        with pytest.raises(grpc.aio.AioRpcError):
            await limits.ShouldRateLimit(question(credential="c"), metadata=sent)
    (line,) = [vars(record)["fields"] for record in caplog.records if record.message == "refused"]
    assert (line["trace_id"], line["reason"]) == (trace_id, "INVALID_REQUEST")


async def test_a_fault_of_ours_is_found_by_its_trace_that_is_not_kept(
    authority: Authority, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans, trace_id = InMemorySpanExporter(), "4bf92f3577b34da6a3ce929d0e0e4736"
    provider = TracerProvider(sampler=ALWAYS_ON)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(telemetry, "_failures", provider.get_tracer("test"))
    broken: Any = object()
    async with serving(authority.issue("ratelimit"), [RateLimitServicer(broken, broken)]) as address:
        async with open_channel(address, "ratelimit", authority.issue("gateway")) as channel:
            sent = (("traceparent", f"00-{trace_id}-00f067aa0ba902b7-00"),)
            asked = rls_pb2_grpc.RateLimitServiceStub(channel).ShouldRateLimit(
                question(credential="c", rps=1, burst=1, daily=1, cost=1), metadata=sent
            )
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await asked
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    (line,) = [vars(record)["fields"] for record in caplog.records if record.message == "failed"]
    (span,) = spans.get_finished_spans()
    assert (line["traceparent"], f"{span.context.trace_id:032x}") == (sent[0][1], trace_id)
