"""A second gatekeeper and Envoy beside a running mesh, on the same database, Redis and services."""

import functools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from devmesh.mesh import Mesh
from devmesh.process import Child, Part, Tier, until_ready
from devmesh.readiness import answers_ok, reports_serving
from devmesh.sockets import choose_port
from gateway.envoy.render import render


@asynccontextmanager
async def second_door(mesh: Mesh, folder: Path) -> AsyncIterator[str]:
    """The address of a second REST surface, whose requests a second identity_svc judges and counts."""
    async with AsyncExitStack() as stack:
        twin = _twin(mesh, "identity_svc", folder)
        await stack.enter_async_context(_started(twin))
        settings = mesh._parts.gateway_settings()
        listen = choose_port()
        settings = replace(
            settings,
            listen_port=listen,
            admin_port=choose_port(avoid=[listen]),
            upstreams={**settings.upstreams, "identity_svc": twin.command.env["REWARDS_LISTEN"]},
        )
        config = folder / "envoy.yaml"
        config.write_text(render(settings))
        first = mesh._parts.envoy()
        argv = [str(config) if one == str(mesh.layout.gateway_config) else one for one in first.command.argv]
        command = replace(first.command, argv=argv, log=folder / "envoy.log")
        envoy = Part(command=command, ready=functools.partial(answers_ok, listen, "/healthz"), tier=Tier.EDGE)
        await stack.enter_async_context(_started(envoy))
        yield f"http://127.0.0.1:{listen}"


def _twin(mesh: Mesh, name: str, folder: Path) -> Part:
    first = mesh._parts.service(name)
    port = choose_port()
    env = {
        **first.command.env,
        "REWARDS_LISTEN": f"127.0.0.1:{port}",
        "REWARDS_METRICS_LISTEN": f"127.0.0.1:{choose_port(avoid=[port])}",
    }
    command = replace(first.command, env=env, log=folder / f"{name}.log")
    ready = functools.partial(reports_serving, port, name, mesh._parts.certificate)
    return replace(first, command=command, ready=ready)


@asynccontextmanager
async def _started(part: Part) -> AsyncIterator[Child]:
    child = Child(part.command)
    try:
        await until_ready(child, part)
        yield child
    finally:
        await child.stop()
