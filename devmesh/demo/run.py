"""Runs the demo on a mesh of its own, which is gone afterwards."""

import tempfile
import time
from pathlib import Path

from devmesh.account import make_passable
from devmesh.demo.partner import Screen
from devmesh.demo.story import tell
from devmesh.mesh import Mesh


async def demo() -> int:
    """The exit code: 0 if every expectation held."""
    screen = Screen()
    with tempfile.TemporaryDirectory(prefix="rewards-demo-") as home:
        make_passable(Path(home))
        began_s = time.monotonic()
        screen.line("Starting PostgreSQL, Redis, Envoy, four services and their surroundings ...")
        async with Mesh(Path(home) / "mesh") as mesh:
            screen.line(f"The mesh serves at {mesh.url} after {time.monotonic() - began_s:.1f} s.")
            await tell(mesh, screen)
    if screen.failed:
        screen.heading(f"{len(screen.failed)} expectations did not hold:")
        for what in screen.failed:
            screen.line(f"  {what}")
        return 1
    screen.heading(f"All {screen.held} expectations held.")
    return 0
