"""`python -m bench`: starts a mesh, measures, prints a table and writes `.bench/latest.json`."""

import asyncio
import tempfile
from pathlib import Path

from bench import rest
from bench.figures import Figure, publish
from devmesh.mesh import Mesh


async def main() -> list[Figure]:
    """All figures, on a mesh of its own that is gone afterwards. It samples traces as production does."""
    with tempfile.TemporaryDirectory(prefix="rewards-bench-") as home:
        async with Mesh(Path(home) / "mesh", mode="production") as mesh:
            return await rest.measure(mesh)


if __name__ == "__main__":
    publish(asyncio.run(main()))
