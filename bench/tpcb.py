"""pgbench's TPC-B on the mesh's own PostgreSQL server, in a database of its own: what the box can commit."""

import asyncio
import re

from devmesh.postgres import PostgresServer, program

CLIENTS = (1, 8, 16, 32)
# A row of pgbench_branches for each client of the largest run, as pgbench's own manual asks for: with fewer, clients
# wait for each other's row locks and the baseline would be slower than the server is.
SCALE = max(CLIENTS)
DURATION_S = 2
DATABASE = "tpcb"


async def prepare(postgres: PostgresServer) -> None:
    """Makes and fills the database."""
    await postgres.create_database(DATABASE)
    await _pgbench(postgres, "--initialize", "--init-steps=dtGvp", f"--scale={SCALE}", "--quiet")


async def best(postgres: PostgresServer) -> float:
    """Transactions a second with prepared statements, at the number of clients that gives the most."""
    rates = [await _rate(postgres, clients) for clients in CLIENTS]
    return max(rates)


async def _rate(postgres: PostgresServer, clients: int) -> float:
    threads = min(2, clients)
    told = await _pgbench(
        postgres,
        *("--builtin=tpcb-like", "--protocol=prepared", "--no-vacuum", f"--time={DURATION_S}"),
        *(f"--client={clients}", f"--jobs={threads}"),
    )
    found = re.search(r"tps = ([\d.]+)", told)
    if found is None:
        raise RuntimeError("pgbench told no rate")
    return float(found[1])


async def _pgbench(postgres: PostgresServer, *options: str) -> str:
    pipe = asyncio.subprocess.PIPE
    argv = [str(program("pgbench")), *options, postgres.dsn(DATABASE, "owner")]
    process = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
    out, error = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"pgbench failed: {error.decode()}")
    return out.decode()
