"""The gRPC server of a process: mTLS, interceptors, health, reflection, workers, and a graceful end."""

import asyncio
import gc
import logging
import signal
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
import uvloop
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from svckit.config import Config
from svckit.interceptors import Chain
from svckit.methods import Method, methods
from svckit.workers import Worker

DRAIN_S: Final = 8.0
_OPEN_SERVICES: Final = frozenset({health.SERVICE_NAME, reflection.SERVICE_NAME})

log = logging.getLogger(__name__)


class Served(NamedTuple):
    """One servicer: its descriptor, grpcio's function that adds it, and the object itself."""

    descriptor: ServiceDescriptor
    add: Callable[[Any, grpc.aio.Server], None]
    servicer: object


def build(
    config: Config, served: Sequence[Served], declared: dict[str, Method] | None = None
) -> tuple[grpc.aio.Server, health.aio.HealthServicer, int]:
    """A server that is bound but not started, its health servicer, and the port it got.

    `declared` gives the access of protos that are not ours and so carry no options.
    """
    known = {**methods(*(one.descriptor for one in served)), **(declared or {})}
    server = grpc.aio.server(
        interceptors=(Chain(known, _OPEN_SERVICES),),
        options=(
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
            ("grpc.max_receive_message_length", 4 << 20),
        ),
    )
    for one in served:
        one.add(one.servicer, server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    if config.development:
        names = [one.descriptor.full_name for one in served]
        reflection.enable_server_reflection((*names, *_OPEN_SERVICES), server)
    port = server.add_secure_port(config.listen, credentials(config.tls_dir))
    return server, healthy, port


def credentials(tls_dir: Path) -> grpc.ServerCredentials:
    """The process's certificate; a peer without one of the same authority is refused."""
    return grpc.ssl_server_credentials(
        [((tls_dir / "tls.key").read_bytes(), (tls_dir / "tls.crt").read_bytes())],
        root_certificates=(tls_dir / "ca.crt").read_bytes(),
        require_client_auth=True,
    )


async def serve(
    config: Config,
    served: Sequence[Served],
    workers: Sequence[Worker] = (),
    declared: dict[str, Method] | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains: no new calls, running ones get DRAIN_S seconds."""
    server, healthy, _ = build(config, served, declared)
    await server.start()
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    # Modules and descriptors stay for good: without this every full collection walks them, while all calls wait.
    gc.collect()
    gc.freeze()
    log.info("serving", extra={"fields": {"listen": config.listen}})
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    tasks = [asyncio.create_task(worker.run(), name=worker.name) for worker in workers]
    await stopping.wait()
    await healthy.enter_graceful_shutdown()
    await server.stop(DRAIN_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    log.info("stopped")


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs a process's main coroutine on uvloop."""
    uvloop.run(main)
