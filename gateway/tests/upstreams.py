"""Services for tests of the gateway: real gRPC servers over mTLS that answer what a test tells them to."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

Metadata = Sequence[tuple[str, str]]


@dataclass
class Seen:
    """A call as it arrived: the request's bytes, its metadata, and the seconds that it was given."""

    path: str
    request: bytes
    metadata: dict[str, str]
    remaining_s: float | None


@dataclass
class Answer:
    """What to answer: messages, or a status."""

    messages: Sequence[Message] = ()
    headers: Metadata = ()
    status: status_pb2.Status | None = None
    wait: Callable[[], Awaitable[object]] | None = None


@dataclass
class Service(grpc.GenericRpcHandler):
    """Answers each path with what `answers` has for it: an Answer, or a function from the request's bytes."""

    answers: dict[str, Answer | Callable[[Seen], Answer]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        path = details.method

        async def handle(request: bytes, context: Any) -> AsyncIterator[bytes]:
            metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
            seen = Seen(path, request, metadata, context.time_remaining())
            self.seen.append(seen)
            found = self.answers[path]
            answer = found if isinstance(found, Answer) else found(seen)
            if answer.headers:
                await context.send_initial_metadata(tuple(answer.headers))
            for message in answer.messages:
                yield message.SerializeToString()
            if answer.wait:
                await answer.wait()
            if answer.status is not None:
                await context.abort_with_status(rpc_status.to_status(answer.status))

        return grpc.unary_stream_rpc_method_handler(handle) if path in self.answers else None

    def calls(self, path: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.path == path]


@asynccontextmanager
async def listening(service: grpc.GenericRpcHandler, tls_dir: Path, port: int = 0) -> AsyncIterator[int]:
    """Serves with the certificate in `tls_dir`; gives the port."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers((service,))
    bound = server.add_secure_port(f"127.0.0.1:{port}", credentials(tls_dir))
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(grace=0)


def credentials(tls_dir: Path) -> grpc.ServerCredentials:
    """mTLS with the certificate in `tls_dir`."""
    return grpc.ssl_server_credentials(
        [((tls_dir / "tls.key").read_bytes(), (tls_dir / "tls.crt").read_bytes())],
        root_certificates=(tls_dir / "ca.crt").read_bytes(),
        require_client_auth=True,
    )


def refusal(code: int, message: str, reason: str = "", *details: Message, headers: Metadata = ()) -> Answer:
    """A refusal as services send it: ErrorInfo and at most one typed detail."""
    status = status_pb2.Status(code=code, message=message)
    info = (error_details_pb2.ErrorInfo(reason=reason, domain="rewards-mesh"),) if reason else ()
    for detail in (*info, *details):
        packed = Packed()
        packed.Pack(detail)
        status.details.append(packed)
    return Answer(status=status, headers=headers)
