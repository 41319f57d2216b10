"""What a process runs: its gRPC server (mTLS, interceptors, health, reflection), its workers, and a graceful end."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import grpc
import uvloop
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from svckit import telemetry
from svckit.call import Method, methods
from svckit.config import Config
from svckit.interceptors import Chain

DRAIN_S: Final = 8.0
MAX_BACKOFF_S: Final = 10.0
_PING_MS: Final = ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000)
_OPTIONS: Final = (("grpc.so_reuseport", 0), _PING_MS, ("grpc.max_receive_message_length", 4 << 20))
_OPEN_SERVICES: Final = frozenset({health.SERVICE_NAME, reflection.SERVICE_NAME})
log = logging.getLogger(__name__)


def build(config: Config, servicers: Sequence[object]) -> tuple[grpc.aio.Server, health.aio.HealthServicer, int]:
    """A server that is bound but not started, its health servicer, and the port it got. A servicer serves what the
    generated classes that it extends say; where those are not of our protos, its `CALLERS` are who may call."""
    known: dict[str, Method] = {}
    server = grpc.aio.server(interceptors=(Chain(known, _OPEN_SERVICES),), options=_OPTIONS)
    services = [(one, *service) for one in servicers for service in _services(type(one))]
    for servicer, service, add in services:
        known |= methods(service, callers=getattr(servicer, "CALLERS", ()))
        add(servicer, server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    if config.environment != "production":
        reflection.enable_server_reflection((*(one.full_name for _, one, _ in services), *_OPEN_SERVICES), server)
    return server, healthy, server.add_secure_port(config.listen, credentials(config.tls_dir))


def _services(servicer: type) -> Iterator[tuple[ServiceDescriptor, Callable[[Any, grpc.aio.Server], None]]]:
    """The services whose generated classes `servicer` extends, each with grpcio's function that adds it."""
    for base in servicer.__mro__:
        if base.__module__.endswith("_pb2_grpc"):
            stubs, protos = sys.modules[base.__module__], sys.modules[base.__module__.removesuffix("_grpc")]
            service = protos.DESCRIPTOR.services_by_name[base.__name__.removesuffix("Servicer")]
            yield service, getattr(stubs, f"add_{base.__name__}_to_server")


def credentials(tls_dir: Path) -> grpc.ServerCredentials:
    """The process's certificate; a peer without one of the same authority is refused."""
    key, certificate, roots = ((tls_dir / name).read_bytes() for name in ("tls.key", "tls.crt", "ca.crt"))
    return grpc.ssl_server_credentials([(key, certificate)], roots, require_client_auth=True)


class Worker:
    """Runs `step` for as long as it finds work, then waits for `wake` or `interval_s`. A step returns how much it did.
    One that fails is logged and tried again with growing pauses: a dependency that is down must not end the job."""

    def __init__(self, name: str, step: Callable[[], Awaitable[int]], interval_s: float = 1.0) -> None:
        self.name = name
        self._step = step
        self._interval_s = interval_s
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Says that there is work now. A hint only: without it the work waits for the interval."""
        self._woken.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        failures = 0
        while True:
            self._woken.clear()
            pause_s = self._interval_s
            try:
                if await self._step() > 0:
                    continue
                failures = 0
            except Exception:
                failures += 1
                pause_s = min(MAX_BACKOFF_S, self._interval_s * 2**failures)
                telemetry.worker_failures.labels(self.name).inc()
                log.exception("worker step failed", extra={"fields": {"worker": self.name}})
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._woken.wait()


async def serve(config: Config, servicers: Sequence[object], workers: Sequence[Worker] = ()) -> None:
    """Serves until SIGTERM or SIGINT, then drains: no new calls, running ones get DRAIN_S seconds."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    server, healthy, _ = build(config, servicers)
    await server.start()
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    # Modules and descriptors stay for good: without this every full collection walks them, while all calls wait.
    gc.collect()
    gc.freeze()
    log.info("serving", extra={"fields": {"listen": config.listen}})
    tasks = [asyncio.create_task(worker.run(), name=worker.name) for worker in workers]
    await stopping.wait()
    await healthy.enter_graceful_shutdown()
    await server.stop(DRAIN_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    log.info("stopped")


run = uvloop.run
