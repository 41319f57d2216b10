"""Envoy's question as it is counted and logged: limits over the wire, and refusals and faults under their trace."""

import logging

import grpc
import pytest
from envoy_min import authz_pb2
from envoy_min.authz_pb2_grpc import AuthorizationStub
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from rewards.identity.v1 import credentials_pb2

from identity_svc.tests.running import Running
from identity_svc.tests.test_gatekeeper import BALANCE, REDEEM, REST, TOKEN
from identity_svc.tests.verdicts import barred, in_grpc
from svckit import telemetry

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_who_is_over_a_limit_is_refused_with_the_limits_and_so_is_who_lacks_the_scope(identity: Running) -> None:
    small = credentials_pb2.Plan(plan_id="standard", requests_per_second=1, burst=3, requests_per_day=1_000)
    await identity.operate("PutPlan", credentials_pb2.PutPlanRequest(plan=small))
    key = {"x-api-key": (await identity.api_key("points:read")).api_key, **REST}
    answers = [await identity.check(path, key) for path in (BALANCE, REDEEM, BALANCE, BALANCE, REDEEM)]
    assert [limits(answer) for answer in answers] == [("3", str(left), str(3 - left)) for left in (2, 1, 0, 0, 0)]
    assert ["refusal" in answer.dynamic_metadata for answer in answers] == [False, True, False, True, True]
    # What the scope does not cover counts, and stays a 403 also over the limit.
    assert [barred(answers[at]) for at in (1, 3, 4)] == ["PERMISSION_DENIED", "RATE_LIMITED", "PERMISSION_DENIED"]
    assert answers[3].dynamic_metadata["refusal"]["retry-after"] == "1"
    assert "retry-after" not in answers[4].dynamic_metadata["refusal"]


async def test_who_shows_no_credential_is_counted_by_the_address(identity: Running) -> None:
    of_one, of_another = ({"x-rewards-peer": address} for address in ("192.0.2.1", "2001:db8::1"))
    for _ in range(200):
        last = await identity.check(TOKEN, of_one)
    assert limits(last) == ("200", "0", "4")
    over = await identity.check(TOKEN, of_one)
    assert in_grpc(over.dynamic_metadata["refusal"]["grpc-status-details-bin"]).code == 8
    assert limits(await identity.check(TOKEN, of_another)) == ("200", "199", "1")


def limits(answer: object) -> tuple[str, ...]:
    """What the caller is told: the limit, what remains of it, and when it is whole again."""
    added = answer.ok_response.response_headers_to_add  # type: ignore[attr-defined]
    told = {option.header.key: option.header.value for option in added}
    return tuple(told[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "reset"))


@pytest.mark.parametrize("flags", ["00", "01"])
async def test_a_refusal_is_logged_under_its_trace_whether_that_is_kept_or_not(
    identity: Running, caplog: pytest.LogCaptureFixture, flags: str
) -> None:
    caplog.set_level(logging.INFO, "svckit.interceptors")
    await ask(identity, flags)
    (line,) = [vars(record)["fields"] for record in caplog.records if record.message == "refused"]
    assert (line["trace_id"], line["reason"]) == (TRACE_ID, "UNAUTHENTICATED")


async def test_a_fault_of_ours_is_found_by_its_trace_that_is_not_kept(
    identity: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider(sampler=ALWAYS_ON)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(telemetry, "_failures", provider.get_tracer("test"))
    monkeypatch.setattr("identity_svc.gatekeeper.rules.credential", None)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await ask(identity, "00")
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    (line,) = [vars(record)["fields"] for record in caplog.records if record.message == "failed"]
    (span,) = spans.get_finished_spans()
    assert (line["traceparent"][3:35], f"{span.context.trace_id:032x}") == (TRACE_ID, TRACE_ID)


async def ask(identity: Running, flags: str) -> None:
    """Envoy's question about a request without a credential, in a trace that is kept or not."""
    request = authz_pb2.CheckRequest()
    request.attributes.request.http.path = BALANCE
    sent = (("traceparent", f"00-{TRACE_ID}-00f067aa0ba902b7-{flags}"),)
    await AuthorizationStub(identity.gateway).Check(request, metadata=sent)
