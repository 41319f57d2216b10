"""Calls from one service to another: mTLS, the remaining deadline and the trace go along, and a refusal
comes back as the `Refused` that the other side raised."""

from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message
from grpc_status import rpc_status
from opentelemetry import trace

from svckit import call, telemetry
from svckit.config import Config, required
from svckit.errors import Reason, Refused, from_status, internal

Response = TypeVar("Response", bound=Message)
Rpc: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[Any, Response]"

# A hop leaves its caller a little time to answer.
MARGIN_S: Final = 0.05
# All replicas of a peer get their share. UNAVAILABLE is tried again: every RPC between services is idempotent, by its
# key or by nature.
_POLICY: Final = """{"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [{"name": [{}], "retryPolicy": {
  "maxAttempts": 3, "initialBackoff": "0.05s", "maxBackoff": "0.5s", "backoffMultiplier": 2,
  "retryableStatusCodes": ["UNAVAILABLE"]}}]}"""


def channel(config: Config, peer: str) -> grpc.aio.Channel:
    """A channel to the service `peer` of the mesh. Raises KeyError if no address of it is known."""
    return open_channel(config.peers[peer], peer, config.tls_dir)


def door() -> grpc.aio.Channel:
    """A channel to the door of the mesh, for an operator's commands: at REWARDS_GRPC, by TLS if that begins so."""
    address = required("REWARDS_GRPC")
    if address.startswith("https://"):
        return grpc.aio.secure_channel(address.removeprefix("https://"), grpc.ssl_channel_credentials())
    return grpc.aio.insecure_channel(address)


def open_channel(address: str, peer: str, tls_dir: Path) -> grpc.aio.Channel:
    """A channel to all that answers at `address`, which must show the certificate of `peer`."""
    tls = grpc.ssl_channel_credentials(*((tls_dir / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt")))
    options = (
        ("grpc.ssl_target_name_override", peer.replace("_", "-")),
        ("grpc.service_config", _POLICY),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.min_reconnect_backoff_ms", 3_000),  # what a handshake may take, not a pause
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
    )
    return grpc.aio.secure_channel(address, tls, options=options)


async def invoke(rpc: "Rpc[Response]", request: Message, *, key: str | None = None, timeout_s: float = 5.0) -> Response:
    """Calls `rpc` with what is left of the current call's time, at most `timeout_s`. `key` is the idempotency key.
    Raises Refused: the other side's own reason, UNAVAILABLE if it cannot be reached, TIMEOUT if the outcome is
    unknown."""
    if (left_s := call.remaining_s(timeout_s + MARGIN_S) - MARGIN_S) <= 0:
        raise Refused(Reason.TIMEOUT, "No time is left for the next step.")
    headers: dict[str, str] = {} if key is None else {"idempotency-key": key}
    name = request.DESCRIPTOR.full_name.removesuffix("Request")
    with telemetry.span(name, trace.SpanKind.CLIENT, {"rpc.system": "grpc"}):
        telemetry.propagator.inject(headers)
        try:
            return await rpc(request, timeout=left_s, metadata=tuple(headers.items()))
        except grpc.aio.AioRpcError as error:
            raise _refusal(error) from error


def _refusal(error: grpc.aio.AioRpcError) -> Refused:
    if (status := rpc_status.from_call(error)) is not None:  # type: ignore[arg-type]
        return from_status(status)
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return Refused(Reason.UNAVAILABLE, "A part of the service is down.", retry_after_s=1)
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Refused(Reason.TIMEOUT, "It took too long; its outcome is unknown.")
    return internal()
