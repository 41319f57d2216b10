"""A gRPC load generator in a process of its own: a closed loop with a fixed number of calls in flight.

It reads one JSON line on stdin (`Plan`) and writes one on stdout (`Result`). It sends a fixed number of calls and
stops by itself. Requests are sent as bytes that were made before the clock started.
"""

import asyncio
import base64
import hashlib
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import grpc
import uvloop

from devmesh.parts import GRPC

TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Target:
    """An RPC of a server. `server` is the name in its certificate, `tls_dir` has the caller's own."""

    address: str
    server: str
    rpc: str
    tls_dir: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send to `target`: `count` calls, `bodies` (base64) in turn, each with the headers of its place.

    Call number n has an idempotency key made of `seed` and n, so the same seed sends the same keys again.
    """

    target: Target
    bodies: list[str]
    headers: list[list[tuple[str, str]]]
    count: int
    in_flight: int
    seed: str
    connections: int = 8


@dataclass(frozen=True, slots=True)
class Result:
    """What came back: calls a second, how many were not answered with OK, and how long each took, in their order."""

    rate: float
    failed: int
    took_ms: list[float]


def encode(request: bytes) -> str:
    """A serialized request as a plan has it."""
    return base64.b64encode(request).decode()


async def generate(plan: Plan, *, refused: bool = False) -> Result:
    """Runs a plan in a process of its own. Raises RuntimeError unless all calls are answered with OK, or none of them
    if they are to be refused."""
    pipe = asyncio.subprocess.PIPE
    argv, env = (sys.executable, "-m", "bench.calls"), {**GRPC, **os.environ}
    process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, env=env)
    out, _ = await process.communicate(json.dumps(asdict(plan)).encode())
    if process.returncode != 0:
        raise RuntimeError("the load generator failed")
    result = Result(**json.loads(out))
    if result.failed != (plan.count if refused else 0):
        raise RuntimeError(f"{result.failed} of {plan.count} calls of {plan.target.rpc} were not answered with OK")
    return result


async def _run(plan: Plan) -> Result:
    channels = [_channel(plan.target) for _ in range(min(plan.connections, plan.in_flight))]
    await asyncio.gather(*(channel.channel_ready() for channel in channels))
    calls = _prepared(plan)
    began_s = time.perf_counter()
    took_ms = [0.0] * plan.count
    callers = (_caller(channels[n % len(channels)], plan.target.rpc, calls, took_ms) for n in range(plan.in_flight))
    failed = sum(await asyncio.gather(*callers))
    result = Result(plan.count / (time.perf_counter() - began_s), failed, took_ms)
    await asyncio.gather(*(channel.close() for channel in channels))
    return result


Prepared = tuple[int, bytes, tuple[tuple[str, str], ...]]


def _prepared(plan: Plan) -> Iterator[Prepared]:
    bodies = [base64.b64decode(body) for body in plan.bodies]
    headers = [tuple((name, value) for name, value in of) for of in plan.headers]
    calls = []
    for number in range(plan.count):
        # As random as a client's own, because that is what the index of the keys has to live with.
        key = uuid.UUID(bytes=hashlib.blake2b(f"{plan.seed}:{number}".encode(), digest_size=16).digest())
        place = number % len(bodies)
        calls.append((number, bodies[place], (*headers[place], ("idempotency-key", str(key)))))
    return iter(calls)


async def _caller(channel: grpc.aio.Channel, rpc: str, calls: Iterator[Prepared], took_ms: list[float]) -> int:
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(rpc)
    failed = 0
    for number, body, metadata in calls:
        began_s = time.perf_counter()
        try:
            await method(body, timeout=TIMEOUT_S, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            failed += 1
            if failed == 1:
                sys.stderr.write(f"{rpc}: {error.code().name} {error.details()}\n")
        took_ms[number] = (time.perf_counter() - began_s) * 1000
    return failed


def _channel(target: Target) -> grpc.aio.Channel:
    tls_dir = Path(target.tls_dir)
    credentials = grpc.ssl_channel_credentials(
        *((tls_dir / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt"))
    )
    options = (
        ("grpc.ssl_target_name_override", target.server.replace("_", "-")),
        # Otherwise all channels of a process share one connection.
        ("grpc.use_local_subchannel_pool", 1),
        # An address that has several servers: each gets as many calls.
        ("grpc.lb_policy_name", "round_robin"),
    )
    return grpc.aio.secure_channel(target.address, credentials, options=options)


def _plan(line: str) -> Plan:
    plan = Plan(**json.loads(line))
    return replace(plan, target=Target(**plan.target))  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(uvloop.run(_run(_plan(sys.stdin.readline()))))))
