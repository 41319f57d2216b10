"""The way of a request into a servicer: telemetry, errors, deadline, access, validation, in this order."""

import asyncio
import http
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import cache
from operator import methodcaller
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.message import Message
from grpc_status import rpc_status
from opentelemetry import trace

from svckit import admission, call, telemetry
from svckit.call import Call, Method
from svckit.errors import Reason, Refused, internal, spec

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

DEFAULT_TIMEOUT_S: Final = 5.0
STREAM_TIMEOUT_S: Final = 3_600.0
MAX_IN_FLIGHT: Final = 2_000
# A map has no order of its own, and a replay must be the first answer byte for byte in every process.
_serialize: Final = methodcaller("SerializeToString", deterministic=True)
_durations: Final = cache(telemetry.rpc_duration_s.labels)
log = logging.getLogger(__name__)


class Chain(grpc.aio.ServerInterceptor):
    """Wraps each RPC of `methods` in the stages. Others are not served, but `open_services` are, as they are."""

    def __init__(self, methods: Mapping[str, Method], open_services: frozenset[str]) -> None:
        self._methods = methods
        self._open_services = open_services
        self._wrapped: dict[str, Handler] = {}
        self._in_flight = 0

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """Gives the wrapped handler of the RPC, made once."""
        path = details.method
        if path in self._wrapped:
            return self._wrapped[path]
        handler: Handler | None = await continuation(details)
        if handler is None or path.split("/")[1] in self._open_services:
            return handler
        return self._wrapped.setdefault(path, self._wrap(self._methods[path], handler))

    def _wrap(self, method: Method, handler: Handler) -> Handler:
        behaviour: Any = handler.unary_stream or handler.unary_unary
        streams, limit_s = (True, STREAM_TIMEOUT_S) if handler.response_streaming else (False, DEFAULT_TIMEOUT_S)
        bounded: Any = nullcontext if method.foreign else asyncio.timeout  # Envoy cancels what it gives up

        async def stages(ours: Call, sent: Iterable[Any], request: Message, context: Context) -> Any:
            async with bounded(self._timeout_s(ours, context, limit_s)):
                ours.principal = admission.principal(context.auth_context(), ours.metadata)
                admission.check(method, ours.principal)
                if not method.foreign:
                    admission.confine(ours, request)
                    admission.validate(request)
                    ours.idempotency_key = admission.key(method, [str(v) for k, v in sent if k == admission.KEY_HEADER])
                call.enter(ours)
                if not streams:
                    return await behaviour(request, context)
                async for part in behaviour(request, context):
                    await context.write(part)
                return None

        async def answer(request: Message, context: Context) -> Any:
            started = time.perf_counter()
            refusal: Refused | None = None
            response = None
            sent = context.invocation_metadata() or ()
            ours = Call(method, metadata={k: v for k, v in sent if isinstance(v, str)})
            self._in_flight += 1
            with telemetry.joined(method, ours.metadata) as span:
                try:
                    response = await stages(ours, sent, request, context)
                except Exception as error:  # noqa: BLE001 - a caller gets a status, whatever it is
                    refusal = _refusal(ours, error)
                finally:
                    self._in_flight -= 1
                    _observe(ours, span, time.perf_counter() - started)
                # Before an abort as well: what is sent after it never becomes an HTTP header. A stream may have begun.
                if ours.reply_headers and not streams:
                    await context.send_initial_metadata(tuple(ours.reply_headers.items()))
                if refusal is not None:
                    await context.abort_with_status(rpc_status.to_status(refusal.status()))
            return response

        kind = grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        return kind(answer, handler.request_deserializer, _serialize)

    def _timeout_s(self, ours: Call, context: Context, limit_s: float) -> float:
        """How long the call may run. Refuses what comes over the limit at once."""
        if self._in_flight > MAX_IN_FLIGHT:
            raise Refused(Reason.UNAVAILABLE, "Too many calls at once.", retry_after_s=1)
        remaining = context.time_remaining()
        timeout_s = min(limit_s, limit_s if remaining is None else remaining)
        ours.deadline_s = asyncio.get_running_loop().time() + timeout_s
        return timeout_s


def _observe(ours: Call, span: trace.Span, duration_s: float) -> None:
    """One observation and, where it was refused, one log line a call."""
    method, code = ours.method, ours.code
    _durations(method.service, method.name, code.name).observe(duration_s)
    span.set_attribute("rpc.grpc.status_code", code.value[0])
    span.set_attribute("rewards.program_id", ours.principal.program_id)
    if not ours.reason:
        return
    span.set_attribute("rewards.reason", ours.reason)
    if spec(Reason.Value(ours.reason)).http_status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        span.set_status(trace.StatusCode.ERROR)
    telemetry.refusals.labels(method.name, ours.reason).inc()
    told = {"rpc": method.path, "code": code.name, "reason": ours.reason, "duration_ms": round(duration_s * 1000, 2)}
    caller = {"program_id": ours.principal.program_id, "caller": ours.principal.name}
    # Also where there is no span, as for Envoy's questions.
    caller |= {"trace_id": ours.metadata["traceparent"][3:35]} if "traceparent" in ours.metadata else {}
    log.info("refused", extra={"fields": told | caller})


def _refusal(ours: Call, error: Exception) -> Refused:
    """What the caller is told: a refusal as it is, and a constant INTERNAL for anything unnamed."""
    if isinstance(error, TimeoutError):
        refusal = Refused(Reason.TIMEOUT, "It took too long; its outcome is unknown.")
    elif isinstance(error, Refused):
        refusal = error
    else:
        refusal = internal()
        told = {"rpc": ours.method.path, "traceparent": ours.metadata.get("traceparent", "")}
        log.error("failed", exc_info=error, extra={"fields": told})
        telemetry.record_failure(ours.method.path[1:], {"rpc.method": ours.method.name}, ours.metadata)
    ours.code, ours.reason = refusal.code, Reason.Name(refusal.reason)
    if refusal.retry_after_s is not None:
        ours.reply_headers["retry-after"] = str(refusal.retry_after_s)
    return refusal
