"""The questions asked of a server, against real servers, and against nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from devmesh.pki import Authority
from devmesh.readiness import accepts_connections, answers_ok, answers_ping, reports_serving
from devmesh.sockets import LOOPBACK, choose_port


@asynccontextmanager
async def _http(answer: bytes) -> AsyncIterator[int]:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    port = choose_port()
    async with await asyncio.start_server(respond, LOOPBACK, port):
        yield port


@asynccontextmanager
async def _grpc(tls: Path, status: health_pb2.HealthCheckResponse.ServingStatus) -> AsyncIterator[int]:
    server, servicer = grpc.aio.server(), health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    await servicer.set("", status)
    credentials = grpc.ssl_server_credentials(
        [((tls / "tls.key").read_bytes(), (tls / "tls.crt").read_bytes())], (tls / "ca.crt").read_bytes(), True
    )
    port = server.add_secure_port(f"{LOOPBACK}:0", credentials)
    await server.start()
    yield port
    await server.stop(grace=None)


async def test_nothing_there_is_not_ready(tmp_path: Path) -> None:
    tls, port = Authority.load_or_create(tmp_path).issue("devmesh"), choose_port()
    assert not await accepts_connections(port)
    assert not await answers_ok(port, "/healthz")
    assert not await answers_ping(tmp_path / "redis.sock")
    assert not await reports_serving(port, "ledger_svc", tls)


@pytest.mark.parametrize(
    ("answer", "ready"),
    [(b"HTTP/1.1 200 OK\r\n\r\n", True), (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False), (b"", False)],
)
async def test_http_is_ready_when_it_answers_200(answer: bytes, *, ready: bool) -> None:
    async with _http(answer) as port:
        assert await accepts_connections(port)
        assert await answers_ok(port, "/healthz") is ready


async def test_a_service_is_ready_when_it_reports_serving_under_its_own_name(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path)
    ours = authority.issue("devmesh")
    async with _grpc(authority.issue("ledger_svc"), health_pb2.HealthCheckResponse.SERVING) as port:
        assert await reports_serving(port, "ledger_svc", ours)
        assert not await reports_serving(port, "identity_svc", ours)
        stranger = Authority.load_or_create(tmp_path / "other").issue("devmesh")
        assert not await reports_serving(port, "ledger_svc", stranger)


async def test_a_service_that_reports_not_serving_is_not_ready(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path)
    async with _grpc(authority.issue("ledger_svc"), health_pb2.HealthCheckResponse.NOT_SERVING) as port:
        assert not await reports_serving(port, "ledger_svc", authority.issue("devmesh"))
