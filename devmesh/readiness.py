"""How a server is asked whether it serves. "Not yet" is False, whatever the reason; nothing here raises for it."""

import asyncio
import contextlib
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from devmesh.sockets import LOOPBACK

_ANSWER_S = 2.0


async def accepts_connections(port: int) -> bool:
    """Whether somebody listens on the loopback port."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(LOOPBACK, port), _ANSWER_S)
    except (OSError, TimeoutError):
        return False
    await _close(writer)
    return True


async def answers_ok(port: int, path: str) -> bool:
    """Whether an HTTP GET of `path` on the loopback port is answered with 200."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n".encode())
                status = (await reader.readline()).split()
            finally:
                await _close(writer)
    except (OSError, TimeoutError):
        return False
    return len(status) > 1 and status[1] == b"200"


async def answers_ping(socket_path: Path) -> bool:
    """Whether a Redis server answers PING on the unix socket."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_unix_connection(socket_path)
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                await _close(writer)
    except (OSError, TimeoutError):
        return False


async def reports_serving(port: int, server: str, tls: Path) -> bool:
    """Whether `server` reports SERVING through the standard health service, over mTLS with the certificate in `tls`."""
    # While nobody listens a refused connection tells it for a hundredth of what a gRPC channel costs, and at start-up
    # the cores are needed for what is being waited for.
    if not await accepts_connections(port):
        return False
    credentials = grpc.ssl_channel_credentials(
        (tls / "ca.crt").read_bytes(), (tls / "tls.key").read_bytes(), (tls / "tls.crt").read_bytes()
    )
    options = [
        ("grpc.ssl_target_name_override", server.replace("_", "-")),
        # Sharing subchannels would make this probe inherit the connection back-off of the one before.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    async with grpc.aio.secure_channel(f"{LOOPBACK}:{port}", credentials, options) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_ANSWER_S)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
