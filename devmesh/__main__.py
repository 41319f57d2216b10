"""`python -m devmesh up`: the mesh until Ctrl-C. REST on 127.0.0.1:$MESH_PORT (8080), state in $MESH_HOME (.mesh).

`python -m devmesh demo`: a throwaway mesh that shows what it does.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path

from devmesh.layout import HomeInUseError, PortInUseError
from devmesh.mesh import Mesh
from devmesh.process import ProcessFailedError


async def up(home: Path, port: int) -> None:
    """Run the mesh until a signal asks for its end. Raises what `Mesh` raises when it cannot be started."""
    asked_to_stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, asked_to_stop.set)
    running, stopping = asyncio.create_task(_run(Mesh(home, port))), asyncio.create_task(asked_to_stop.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if asked_to_stop.is_set():
        # Once only: a second Ctrl-C must not cut short the stopping, which would leave processes behind.
        running.cancel()
        _say("stopping ...")
    try:
        await running
    except asyncio.CancelledError:
        _say("stopped")


async def _run(mesh: Mesh) -> None:
    began_s = time.monotonic()
    _say(f"starting the mesh in {mesh.home} ...")
    async with mesh:
        _say(f"ready after {time.monotonic() - began_s:.1f} s: {mesh.url} (credentials: . {mesh.layout.env_file})")
        await asyncio.Event().wait()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _demo() -> int:
    from devmesh.demo.run import demo  # noqa: PLC0415 - what the demo needs would delay every `up`

    return asyncio.run(demo())


def _up() -> int:
    home, port = os.environ.get("MESH_HOME") or ".mesh", os.environ.get("MESH_PORT") or "8080"
    if not port.isdecimal():
        sys.exit(f"MESH_PORT is {port!r}, which is not a port")
    asyncio.run(up(Path(home), int(port)))
    return 0


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m devmesh", description="The whole mesh on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="run the mesh until Ctrl-C; MESH_HOME and MESH_PORT choose where")
    commands.add_parser("demo", help="show what the mesh does, on a throwaway one; ends with 0 if all of it worked")
    command = parser.parse_args().command
    logging.basicConfig(format="%(message)s")
    try:
        sys.exit(_demo() if command == "demo" else _up())
    except (HomeInUseError, PortInUseError, ProcessFailedError) as error:
        sys.exit(f"the mesh did not start: {error}")


if __name__ == "__main__":
    main()
