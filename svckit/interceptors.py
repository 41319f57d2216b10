"""The way of a request into a servicer: telemetry, errors, deadline, access, validation, in this order."""

import asyncio
import http
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
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
MAX_IN_FLIGHT: Final = 2_000
# A map has no order of its own, and a replay must be the first answer byte for byte in every process.
_serialize: Final = methodcaller("SerializeToString", deterministic=True)

log = logging.getLogger(__name__)


class Chain(grpc.aio.ServerInterceptor):
    """Wraps every declared RPC in the stages. An RPC that is not in `methods` is left out of the server.
    `open_services` are served as they are: health and reflection."""

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
        behaviour: Any = handler.unary_unary

        async def answer(request: Message, context: Context) -> Message:
            metadata = context.invocation_metadata() or ()
            ours = Call(method, metadata={k: v for k, v in metadata if isinstance(v, str)})
            with _telemetry(ours):
                async with _errors(ours, context), self._deadline(ours, context):
                    ours.principal = admission.principal(context.auth_context(), ours.metadata)
                    admission.check(method, ours.principal)
                    admission.confine(ours, request)
                    admission.validate(request)
                    keys = [str(v) for k, v in metadata if k == admission.KEY_HEADER]
                    ours.idempotency_key = admission.key(method, keys)
                    call.enter(ours)
                    response: Message = await behaviour(request, context)
                    return response
            raise AssertionError("a call without an answer was aborted")

        return grpc.unary_unary_rpc_method_handler(answer, handler.request_deserializer, _serialize)

    @asynccontextmanager
    async def _deadline(self, ours: Call, context: Context) -> AsyncIterator[None]:
        """Refuses what comes over the limit at once, and ends what runs over its time."""
        if self._in_flight >= MAX_IN_FLIGHT:
            raise Refused(Reason.UNAVAILABLE, "Too many calls at once.", retry_after_s=1)
        remaining = context.time_remaining()
        timeout_s = min(DEFAULT_TIMEOUT_S, DEFAULT_TIMEOUT_S if remaining is None else remaining)
        ours.deadline_s = asyncio.get_running_loop().time() + timeout_s
        self._in_flight += 1
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except TimeoutError:
            raise Refused(Reason.TIMEOUT, "It took too long; its outcome is unknown.") from None
        finally:
            self._in_flight -= 1


@contextmanager
def _telemetry(ours: Call) -> Iterator[None]:
    """One span, one observation and, where it was refused, one log line a call."""
    started = time.perf_counter()
    attributes = {"rpc.system": "grpc", "rpc.service": ours.method.service, "rpc.method": ours.method.name}
    parent = telemetry.propagator.extract(ours.metadata)
    with telemetry.span(ours.method.path[1:], trace.SpanKind.SERVER, attributes, parent) as span:
        try:
            yield
        finally:
            _observe(ours, span, time.perf_counter() - started)


def _observe(ours: Call, span: trace.Span, duration_s: float) -> None:
    method, code = ours.method, ours.code
    telemetry.rpc_duration_s.labels(method.service, method.name, code.name).observe(duration_s)
    span.set_attribute("rpc.grpc.status_code", code.value[0])
    span.set_attribute("rewards.program_id", ours.principal.program_id)
    if not ours.reason:
        return
    span.set_attribute("rewards.reason", ours.reason)
    if spec(Reason.Value(ours.reason)).http_status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        span.set_status(trace.StatusCode.ERROR)
    telemetry.refusals.labels(method.name, ours.reason).inc()
    fields = {
        "rpc": method.path,
        "code": code.name,
        "reason": ours.reason,
        "duration_ms": round(duration_s * 1000, 2),
        "program_id": ours.principal.program_id,
        "caller": ours.principal.name,
    }
    log.info("refused", extra={"fields": fields})


@asynccontextmanager
async def _errors(ours: Call, context: Context) -> AsyncIterator[None]:
    """Turns a refusal into a status with details, and anything unnamed into a constant INTERNAL."""
    refusal: Refused | None = None
    try:
        yield
    except Refused as refused:
        refusal = refused
    except Exception:
        refusal = internal()
        log.exception("failed", extra={"fields": {"rpc": ours.method.path}})
        telemetry.record_failure(ours.method.path[1:], {"rpc.method": ours.method.name})
    if refusal is not None:
        ours.code, ours.reason = refusal.code, Reason.Name(refusal.reason)
        if refusal.retry_after_s is not None:
            ours.reply_headers["retry-after"] = str(refusal.retry_after_s)
    # Before an abort as well: what is sent after it never becomes an HTTP header.
    if ours.reply_headers:
        await context.send_initial_metadata(tuple(ours.reply_headers.items()))
    if refusal is not None:
        await context.abort_with_status(rpc_status.to_status(refusal.status()))
