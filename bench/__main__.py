"""`python -m bench`: starts a mesh, measures, prints a table and writes `.bench/latest.json`.

`--only NAME`, once or more often, measures the figures whose names begin so; `--long` adds what takes minutes.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

from bench import batches, bulk, catalog, instants, orders, posting, rest, signin
from bench.figures import Figure, publish
from bench.ledger import benched
from devmesh.mesh import Mesh


async def main(only: tuple[str, ...], *, long: bool) -> list[Figure]:
    """The figures, on a mesh of its own that is gone afterwards. It samples traces as production does."""
    figures: list[Figure] = []
    measured = {**posting.FIGURES, **bulk.FIGURES, **instants.FIGURES, **catalog.FIGURES, **orders.FIGURES}
    measured |= {**posting.LONG, **batches.LONG} if long else {}
    wanted = [measure for name, measure in measured.items() if name.startswith(only)]
    with tempfile.TemporaryDirectory(prefix="rewards-bench-") as home:
        async with Mesh(Path(home) / "mesh", mode="production") as mesh:
            if any(name.startswith(only) for name in rest.NAMES):
                figures += await rest.measure(mesh, only)
            if long and signin.NAME.startswith(only):
                figures += await signin.measure(mesh)
            if wanted:
                async with benched(mesh) as bench:
                    for measure in wanted:
                        figures += await measure(bench)
    return figures


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(prog="bench")
    arguments.add_argument("--only", action="append", metavar="NAME", help="the figures whose names begin so")
    arguments.add_argument("--long", action="store_true", help="those as well that take minutes")
    asked = arguments.parse_args()
    publish(asyncio.run(main(tuple(asked.only or [""]), long=asked.long)))
