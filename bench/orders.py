"""One order, from the call to the mail with its code: against the empty RPC, with a provider that takes 100 ms."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import grpc
from google.protobuf.message import Message
from rewards.catalog.v1 import rewards_pb2 as catalog_pb
from rewards.fulfillment.v1 import orders_pb2, orders_pb2_grpc
from rewards.ledger.v1 import funding_pb2

from bench.calls import encode
from bench.figures import Figure, absolute, against
from bench.ledger import Bench
from bench.requests import Caller, Requests, programs, redemptions, spread
from svckit.call import Kind, Principal
from svckit.clients import open_channel
from svckit.clock import new_id
from svckit.testing import headers, partner

NAME = "order_p99_ms_provider_100ms"
SERVER = "fulfillment_svc"
RUNS = 3
ORDERS = 200
IN_FLIGHT = 2
PROVIDER_MS = 100
PROGRAM = "bench-orders"
REWARD = catalog_pb.Reward(
    reward_id="card",
    name="Card",
    brand="Bench",
    category="retail",
    kind=catalog_pb.Reward.CLOSED_LOOP,
    countries=["US"],
    currency="USD",
    denominations=[10],
)


async def measure(bench: Bench) -> list[Figure]:
    """The 99th percentile of ORDERS orders, each of one reward by mail, in turn with the empty RPC's."""
    await fill(bench)
    took, empty = [], []
    async with aiohttp.ClientSession(base_url=f"http://{bench.provider}") as provider:
        async with provider.put("/faults", json={"fault": "slow", "delayMs": PROVIDER_MS, "chance": 1}) as slow:
            slow.raise_for_status()
        for _ in range(RUNS):
            took.append(_p99(await _delivered_ms(bench)))
            empty.append(_p99((await bench.send(bench.empty, redemptions(spread(1)), IN_FLIGHT, 2_000)).took_ms))
        async with provider.delete("/faults") as quick:
            quick.raise_for_status()
    return [absolute(NAME, "ms", took), against(f"{NAME}_vs_empty_rpc", "ms", took, empty)]


FIGURES: dict[str, Callable[[Bench], Awaitable[list[Figure]]]] = {NAME: measure}


async def fill(bench: Bench) -> None:
    """A program with one reward and more money than the orders take, known to all who have to do with orders."""
    known = programs([Caller(PROGRAM, "")])
    for address, server in ((bench.ledger, "ledger_svc"), (bench.catalog, "catalog_svc"), (bench.fulfillment, SERVER)):
        await bench.send(address, known, 1, 1, server=server)
    goods = catalog_pb.PutRewardsRequest(program_id=PROGRAM, rewards=[REWARD])
    put = _requests("catalog.v1.CatalogService/PutRewards", goods, Principal(Kind.OPERATOR, "bench"))
    await bench.send(bench.catalog, put, 1, 1, server="catalog_svc")
    deposit = funding_pb2.CreateDepositRequest(amount=1_000_000, currency="USD")
    paid = _requests("ledger.v1.FundingService/CreateDeposit", deposit, partner(PROGRAM, "funding:write"))
    await bench.send(bench.ledger, paid, 1, 1)


async def _delivered_ms(bench: Bench) -> list[float]:
    """How long each order took, from before its call until its mail had come; IN_FLIGHT of them at once."""
    async with open_channel(bench.fulfillment, SERVER, bench.authority.issue("gateway")) as channel:

        async def one_after_the_other() -> list[float]:
            return [await _order(channel, bench.mail) for _ in range(ORDERS // IN_FLIGHT)]

        lanes = await asyncio.gather(*(one_after_the_other() for _ in range(IN_FLIGHT)))
    return [took_ms for lane in lanes for took_ms in lane]


async def _order(channel: grpc.aio.Channel, mail: Path) -> float:
    key, began_ns = new_id().hex, time.time_ns()
    request = orders_pb2.CreateOrderRequest(
        recipient_email=f"{key}@example.com", reward_id=REWARD.reward_id, denomination=REWARD.denominations[0]
    )
    metadata = headers(partner(PROGRAM, "orders:write"), key)
    await orders_pb2_grpc.OrdersServiceStub(channel).CreateOrder(request, metadata=metadata)
    async with asyncio.timeout(60):
        while (came_ns := _came_ns(mail, key, began_ns)) is None:  # noqa: ASYNC110 - a file appears when it does
            await asyncio.sleep(0.01)
    return (came_ns - began_ns) / 1e6


def _came_ns(mail: Path, key: str, since_ns: int) -> int | None:
    """When the mail came, by the mailbox's own clock: a mail's name is its instant, and its first line the address."""
    for path in sorted(mail.glob("*.eml"), reverse=True):
        if int(path.stem) < since_ns:
            return None
        if path.read_bytes().startswith(f"X-Envelope-To: {key}@".encode()):
            return int(path.stem)
    return None


def _p99(took_ms: list[float]) -> float:
    return statistics.quantiles(took_ms, n=100)[98]


def _requests(rpc: str, message: Message, caller: Principal) -> Requests:
    return Requests(f"/rewards.{rpc}", "gateway", [encode(message.SerializeToString())], [list(headers(caller))])
