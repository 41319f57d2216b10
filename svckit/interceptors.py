"""The way of a request into a servicer: telemetry, errors, deadline, access, validation, in this order."""

from __future__ import annotations

import asyncio
import http
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.message import Message
from grpc_status import rpc_status
from opentelemetry import trace

from svckit import access, call, telemetry, validation
from svckit.call import Call
from svckit.errors import Reason, Refused, internal, spec
from svckit.methods import Method

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]
    Answer = Callable[[Call, Message, Context], Awaitable[Message]]

DEFAULT_TIMEOUT_S: Final = 5.0
MAX_IN_FLIGHT: Final = 2_000

log = logging.getLogger(__name__)


class Chain(grpc.aio.ServerInterceptor):
    """Wraps every declared RPC in the stages. An RPC that is not in `methods` is left out of the server.

    `open_services` are served as they are: health and reflection.
    """

    def __init__(self, methods: Mapping[str, Method], open_services: frozenset[str]) -> None:
        self._methods = methods
        self._open_services = open_services
        self._wrapped: dict[str, Handler] = {}
        self._in_flight = 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Gives the wrapped handler of the RPC, made once."""
        path = details.method
        if path in self._wrapped:
            return self._wrapped[path]
        handler = await continuation(details)
        if handler is None or path.split("/")[1] in self._open_services:
            return handler
        self._wrapped[path] = self._wrap(self._methods[path], handler)
        return self._wrapped[path]

    def _wrap(self, method: Method, handler: Handler) -> Handler:
        behaviour: Any = handler.unary_unary

        async def innermost(_: Call, request: Message, context: Context) -> Message:
            response: Message = await behaviour(request, context)
            return response

        stages = _telemetry(_errors(self._deadline(_access(_validation(innermost)))))

        async def answer(request: Message, context: Context) -> Message:
            return await stages(Call(method), request, context)

        return grpc.unary_unary_rpc_method_handler(answer, handler.request_deserializer, _serialize)

    def _deadline(self, inner: Answer) -> Answer:
        """Refuses what comes over the limit at once, and ends what runs over its time."""

        async def answer(ours: Call, request: Message, context: Context) -> Message:
            if self._in_flight >= MAX_IN_FLIGHT:
                raise Refused(Reason.UNAVAILABLE, "Too many calls at once.", retry_after_s=1)
            remaining = context.time_remaining()
            timeout_s = min(DEFAULT_TIMEOUT_S, DEFAULT_TIMEOUT_S if remaining is None else remaining)
            ours.deadline_s = asyncio.get_running_loop().time() + timeout_s
            self._in_flight += 1
            try:
                async with asyncio.timeout(timeout_s):
                    return await inner(ours, request, context)
            except TimeoutError:
                raise Refused(Reason.TIMEOUT, "It took too long; its outcome is unknown.") from None
            finally:
                self._in_flight -= 1

        return answer


def _serialize(response: Message) -> bytes:
    # A map has no order of its own, and a replay must be the first answer byte for byte in every process.
    return response.SerializeToString(deterministic=True)


def _telemetry(inner: Answer) -> Answer:
    """One span, one observation and, where it was refused, one log line a call."""

    async def answer(ours: Call, request: Message, context: Context) -> Message:
        started = time.perf_counter()
        metadata = context.invocation_metadata() or ()
        ours.metadata = {k: v for k, v in metadata if isinstance(v, str)}
        attributes = {"rpc.system": "grpc", "rpc.service": ours.method.service, "rpc.method": ours.method.name}
        parent = telemetry.propagator.extract(ours.metadata)
        with telemetry.span(ours.method.path[1:], trace.SpanKind.SERVER, attributes, parent) as span:
            try:
                return await inner(ours, request, context)
            finally:
                _observe(ours, span, time.perf_counter() - started)

    return answer


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


def _errors(inner: Answer) -> Answer:
    """Turns a refusal into a status with details, and anything unnamed into a constant INTERNAL."""

    async def answer(ours: Call, request: Message, context: Context) -> Message:
        try:
            response = await inner(ours, request, context)
        except Refused as refused:
            refusal = refused
        except Exception:
            refusal = internal()
            log.exception("failed", extra={"fields": {"rpc": ours.method.path}})
            telemetry.record_failure(ours.method.path[1:], {"rpc.method": ours.method.name})
        else:
            await _send_headers(ours, context)
            return response
        ours.code, ours.reason = refusal.code, Reason.Name(refusal.reason)
        if refusal.retry_after_s is not None:
            ours.reply_headers["retry-after"] = str(refusal.retry_after_s)
        await _send_headers(ours, context)
        await context.abort_with_status(rpc_status.to_status(refusal.status()))
        raise AssertionError("abort_with_status raises")

    return answer


async def _send_headers(ours: Call, context: Context) -> None:
    # Before an abort as well: what is sent after it never becomes an HTTP header.
    if ours.reply_headers:
        await context.send_initial_metadata(tuple(ours.reply_headers.items()))


def _access(inner: Answer) -> Answer:
    """Finds out who calls and refuses whom the RPC does not let in."""

    async def answer(ours: Call, request: Message, context: Context) -> Message:
        peer = access.peer_name(context.auth_context())
        ours.principal = access.principal(peer, ours.metadata)
        access.check(ours.method, ours.principal)
        access.confine(ours, request)
        return await inner(ours, request, context)

    return answer


def _validation(inner: Answer) -> Answer:
    """Refuses what breaks the proto's rules, then what lacks its idempotency key."""

    async def answer(ours: Call, request: Message, context: Context) -> Message:
        validation.check(request)
        sent = context.invocation_metadata() or ()
        keys = [str(v) for k, v in sent if k == validation.KEY_HEADER]
        ours.idempotency_key = validation.key(ours.method, keys)
        call.enter(ours)
        return await inner(ours, request, context)

    return answer
