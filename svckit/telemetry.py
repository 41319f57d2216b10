"""Traces, metrics and logs of a process: OpenTelemetry out by OTLP, Prometheus metrics, JSON log lines.

Standard `OTEL_*` variables work; without an OTLP endpoint no span is exported. All calls are sampled in
development and 1 % in production; a call that fails on our side leaves its own span there as well."""

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter, Histogram, start_http_server

from svckit.call import Method

PRODUCTION_SAMPLE_RATIO: Final = 0.01
propagator: Final = TraceContextTextMapPropagator()
_tracer: Final = trace.get_tracer("rewards-mesh")

_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_CALL: Final = ("service", "method", "code")
rpc_duration_s: Final = Histogram("rpc_server_duration_seconds", "From arrival to answer.", _CALL, buckets=_BUCKETS_S)
refusals: Final = Counter("refusals_total", "Refused calls by reason.", ("method", "reason"))
worker_failures: Final = Counter("worker_failures_total", "Failed worker steps.", ("worker",))
# Where a trace that is not sampled is so to its end, it needs no spans but the one whose ids it goes on with.
_parent_decides: Final = os.environ.get("OTEL_TRACES_SAMPLER", "parentbased_").startswith("parentbased_")
_failures: trace.Tracer = trace.NoOpTracer()


def start(service: str, environment: str, metrics_listen: str) -> None:
    """Sets up logging, tracing and the metrics port of this process. Call once."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(service))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        _export_spans(service, environment)
    if metrics_listen:
        host, _, port = metrics_listen.rpartition(":")
        start_http_server(int(port), host)


def _export_spans(service: str, environment: str) -> None:
    global _failures  # noqa: PLW0603 - set once at start, like the SDK's own provider
    ratio = PRODUCTION_SAMPLE_RATIO if environment == "production" else 1.0
    processor = BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=500)
    resource = Resource.create({"service.name": service})
    # Without one of ours the SDK takes the sampler that the standard variable names.
    ours = None if "OTEL_TRACES_SAMPLER" in os.environ else ParentBased(TraceIdRatioBased(ratio))
    sampled = TracerProvider(sampler=ours, resource=resource)
    failing = TracerProvider(sampler=ALWAYS_ON, resource=resource)
    for provider in (sampled, failing):
        provider.add_span_processor(processor)
    trace.set_tracer_provider(sampled)
    _failures = failing.get_tracer("rewards-mesh")


@contextmanager
def span(
    name: str, kind: trace.SpanKind, attributes: Mapping[str, str], context: Context | None = None
) -> Iterator[trace.Span]:
    """A span around a block. An exception's text stays out of it, as it may hold personal data (G51)."""
    made = trace.get_current_span(context)
    if not (_parent_decides and made.get_span_context().is_valid) or made.get_span_context().trace_flags.sampled:
        made = _tracer.start_span(name, context, kind, attributes)
    token = attach(trace.set_span_in_context(made))
    try:
        yield made
    finally:
        detach(token)
        made.end()


def joined(method: Method, metadata: Mapping[str, str]) -> AbstractContextManager[trace.Span]:
    """The span of a call that came with `metadata`. One of Envoy's own questions has none where its trace is dropped:
    they come before every request of everybody."""
    if method.foreign and _parent_decides and metadata.get("traceparent", "").endswith("-00"):
        return nullcontext(trace.INVALID_SPAN)
    attributes = {"rpc.system": "grpc", "rpc.service": method.service, "rpc.method": method.name}
    return span(method.path[1:], trace.SpanKind.SERVER, attributes, propagator.extract(metadata))


def record_failure(name: str, attributes: Mapping[str, str], metadata: Mapping[str, str]) -> None:
    """Leaves a span of a call that failed on our side, if sampling had dropped it: in the trace that it came with."""
    if not trace.get_current_span().is_recording():
        _failures.start_span(name, propagator.extract(metadata, get_current()), attributes=dict(attributes)).end()


class _JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line["trace_id"] = trace.format_trace_id(span.trace_id)
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = describe(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


def describe(error: BaseException) -> list[str]:
    """An exception as the names and places of its frames, without its text: a driver puts the values of the failed
    statement into its text, and those may be personal data (G51)."""
    frames = (f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__))
    cause = describe(error.__cause__) if error.__cause__ is not None else []
    return [type(error).__name__, *frames, *cause]
