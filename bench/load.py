"""A load generator in a process of its own: `connections` callers, each with one request under way.

It reads one JSON line on stdin (`Plan`) and writes one on stdout (`Result`). It sends a fixed number of requests and
stops by itself. HTTP/1.1 by hand, because a client library would cost more than what it measures.
"""

import asyncio
import json
import statistics
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import uvloop


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send: POSTs of `bodies` in turn to `path`, `requests` in all, each under a key of its own."""

    port: int
    path: str
    token: str
    bodies: list[str]
    connections: int
    requests: int


@dataclass(frozen=True, slots=True)
class Result:
    """What came back: requests a second, how long the median answer took, and how many were not answered with 200."""

    rate: float
    p50_ms: float
    failed: int


async def _caller(plan: Plan, numbers: Iterator[int], took_s: list[float]) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", plan.port)
    failed = 0
    for number in numbers:
        body = plan.bodies[number % len(plan.bodies)].encode()
        sent_s = time.perf_counter()
        writer.write(
            f"POST {plan.path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {plan.token}\r\nidempotency-key: {uuid.uuid4()}\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = await reader.readuntil(b"\r\n\r\n")
        failed += not head.startswith(b"HTTP/1.1 200")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
        took_s.append(time.perf_counter() - sent_s)
    writer.close()
    await writer.wait_closed()
    return failed


async def _run(plan: Plan) -> Result:
    numbers, took_s = iter(range(plan.requests)), list[float]()
    began_s = time.perf_counter()
    failed = await asyncio.gather(*(_caller(plan, numbers, took_s) for _ in range(plan.connections)))
    rate = plan.requests / (time.perf_counter() - began_s)
    return Result(rate, statistics.median(took_s) * 1000, sum(failed))


async def generate(plan: Plan) -> Result:
    """Runs a plan in a process of its own. Raises RuntimeError if that fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.load", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(json.dumps(asdict(plan)).encode())
    if process.returncode != 0:
        raise RuntimeError("the load generator failed")
    return Result(**json.loads(out))


if __name__ == "__main__":
    done = uvloop.run(_run(Plan(**json.loads(sys.stdin.readline()))))
    sys.stdout.write(json.dumps(asdict(done)))
