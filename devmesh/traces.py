"""The mesh's own trace receiver: OTLP over gRPC on loopback, spans kept as JSON lines.

`python -m devmesh.traces serve --port 4317 --file .mesh/traces.jsonl` receives;
`python -m devmesh.traces show <trace id>` draws a trace as a tree.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from devmesh.sockets import LOOPBACK
from devmesh.spans import Span, SpanFile, Value, draw, read_trace

_REQUEST_MAX_BYTES = 16 * 1024 * 1024


class TraceReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """The collector's side of OTLP, as far as spans go."""

    def __init__(self, file: SpanFile) -> None:
        self._file = file

    async def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: object
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Keep what was exported; it can be read back when this is answered."""
        self._file.append(list(spans_of(request)))
        return trace_service_pb2.ExportTraceServiceResponse()


def spans_of(request: trace_service_pb2.ExportTraceServiceRequest) -> Iterator[Span]:
    """The spans of an export, each with its service from the resource's `service.name`."""
    for resource in request.resource_spans:
        service = str(_attributes(resource.resource.attributes).get("service.name", "unknown"))
        for scope in resource.scope_spans:
            yield from (_span(service, span) for span in scope.spans)


def _span(service: str, span: trace_pb2.Span) -> Span:
    failed = span.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    return Span(
        trace=span.trace_id.hex(),
        span=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        service=service,
        name=span.name,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        error=(span.status.message or "error") if failed else "",
        attributes=_attributes(span.attributes),
        events=[{"name": event.name, **_attributes(event.attributes)} for event in span.events],
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind in ("string_value", "bool_value", "int_value", "double_value"):
        return cast(Value, getattr(value, kind))
    # Lists and maps are rare and only looked at by people, so their text form is enough.
    return str(value).strip() if kind else None


async def serve(port: int, path: Path) -> None:
    """Receive spans until SIGTERM or SIGINT."""
    file = SpanFile(path)
    # Without SO_REUSEPORT, so that a port another mesh has taken is an error and not shared.
    options = [("grpc.max_receive_message_length", _REQUEST_MAX_BYTES), ("grpc.so_reuseport", 0)]
    server = grpc.aio.server(options=options)
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(TraceReceiver(file), server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"{LOOPBACK}:{port}")
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await server.start()
    await stopping.wait()
    await server.stop(grace=1)
    file.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m devmesh.traces", description="Receives traces and shows them.")
    commands = parser.add_subparsers(dest="command", required=True)
    receive = commands.add_parser("serve", help="receive OTLP over gRPC on loopback")
    receive.add_argument("--port", type=int, required=True)
    receive.add_argument("--file", type=Path, required=True)
    show = commands.add_parser("show", help="draw one trace as a tree")
    show.add_argument("trace", help="the id, as in the X-Trace-Id header")
    show.add_argument("--file", type=Path, default=Path(os.environ.get("MESH_HOME", ".mesh"), "traces.jsonl"))
    arguments = parser.parse_args()
    if arguments.command == "serve":
        asyncio.run(serve(arguments.port, arguments.file))
    else:
        sys.stdout.write(f"{draw(read_trace(arguments.file, arguments.trace))}\n")


if __name__ == "__main__":
    main()
