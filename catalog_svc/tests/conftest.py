"""The catalog behind its real server, and who may call it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType

import grpc
import psycopg
import pytest
from grpc_status import rpc_status
from rewards.catalog.v1 import rewards_pb2 as pb
from rewards.catalog.v1 import rewards_pb2_grpc, stock_pb2_grpc, sync_pb2_grpc
from rewards.identity.v1 import programs_pb2, programs_pb2_grpc

from catalog_svc.__main__ import build
from catalog_svc.sync.feeds import Source
from devmesh.generated_rewards import Generated, generate, rates
from devmesh.pki import Authority
from svckit.call import Kind, Principal
from svckit.clients import open_channel
from svckit.db import Database
from svckit.errors import Refused, from_status
from svckit.server import Worker
from svckit.testing import headers, serving

PROGRAM = "sandbox-acme"
OPERATOR = headers(Principal(Kind.OPERATOR, "op"))


@dataclass(frozen=True)
class Catalog:
    """Stubs of the catalog: as the gateway sees it, as fulfillment_svc does, as identity_svc does."""

    rewards: "rewards_pb2_grpc.RewardsServiceAsyncStub"
    catalog: "rewards_pb2_grpc.CatalogServiceAsyncStub"
    quotes: "rewards_pb2_grpc.CatalogServiceAsyncStub"
    directory: "programs_pb2_grpc.ProgramDirectoryServiceAsyncStub"
    stock: "stock_pb2_grpc.StockServiceAsyncStub"
    operated: "stock_pb2_grpc.StockServiceAsyncStub"
    syncs: "sync_pb2_grpc.SyncServiceAsyncStub"
    workers: dict[str, Worker]
    db: Database

    async def set_program(
        self,
        version: int,
        points_per_unit: int = 80,
        currency: str = "USD",
        program_id: str = PROGRAM,
        clock_offset_s: int = 0,
    ) -> None:
        program = programs_pb2.Program(
            program_id=program_id,
            name="Acme",
            mode=programs_pb2.Program.SANDBOX,
            time_zone="UTC",
            currency=currency,
            asset="PTS",
            points_per_unit=points_per_unit,
            version=version,
            clock_offset_s=clock_offset_s,
        )
        await self.directory.StoreProgram(programs_pb2.StoreProgramRequest(program=program))

    async def put(self, *rewards: pb.Reward, prices: tuple[pb.RewardPrice, ...] = (), program_id: str = PROGRAM) -> int:
        request = pb.PutRewardsRequest(program_id=program_id, rewards=rewards, prices=prices)
        return (await self.catalog.PutRewards(request, metadata=OPERATOR)).changed


@asynccontextmanager
async def served_catalog(
    db: Database, authority: Authority, sources: Mapping[str, Source] = MappingProxyType({})
) -> AsyncIterator[Catalog]:
    """The catalog behind its real server, with a program."""
    served, workers = build(db, sources)
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving(authority.issue("catalog_svc"), served))
        gateway, fulfillment, identity = [
            await stack.enter_async_context(open_channel(address, "catalog_svc", authority.issue(peer)))
            for peer in ("gateway", "fulfillment_svc", "identity_svc")
        ]
        made = Catalog(
            rewards=rewards_pb2_grpc.RewardsServiceStub(gateway),
            catalog=rewards_pb2_grpc.CatalogServiceStub(gateway),
            quotes=rewards_pb2_grpc.CatalogServiceStub(fulfillment),
            directory=programs_pb2_grpc.ProgramDirectoryServiceStub(identity),
            stock=stock_pb2_grpc.StockServiceStub(fulfillment),
            syncs=sync_pb2_grpc.SyncServiceStub(gateway),
            operated=stock_pb2_grpc.StockServiceStub(gateway),
            workers={worker.name: worker for worker in workers},
            db=db,
        )
        await made.set_program(version=1)
        yield made


@pytest.fixture
async def catalog(fresh_database: Callable[[str], Awaitable[Database]], authority: Authority) -> AsyncIterator[Catalog]:
    async with served_catalog(await fresh_database("catalog_svc"), authority) as made:
        yield made


@dataclass(frozen=True)
class Large:
    """A generated catalog and what was generated. It is only read."""

    catalog: Catalog
    generated: Generated
    dsn: str


@pytest.fixture(scope="module")
async def large(shared_url: Callable[[str], Awaitable[str]], authority: Authority) -> AsyncIterator[Large]:
    url = await shared_url("catalog_svc")
    db, generated = Database(url), generate(brands=1_000, rewards=4_000, seed=7)
    async with served_catalog(db, authority) as made:
        await made.catalog.PutRates(pb.PutRatesRequest(program_id=PROGRAM, rates=rates()), metadata=OPERATOR)
        for request in generated.requests(PROGRAM, size=250):
            await made.catalog.PutRewards(request, metadata=OPERATOR)
        with psycopg.connect(url.replace("catalog_runtime@", "catalog_owner@"), autocommit=True) as owner:
            owner.execute("VACUUM ANALYZE")
        yield Large(made, generated, url)
    await db.close()


async def refusal_of(call: Awaitable[object]) -> Refused:
    """What the call is refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    assert status is not None
    return from_status(status)


def reward(reward_id: str = "books-25", **changes: object) -> pb.Reward:
    """A gift card of 10, 25 and 50 USD, with some fields changed."""
    made = pb.Reward(
        reward_id=reward_id,
        name="Baltic Books gift card",
        brand="Baltic Books",
        category="retail",
        kind=pb.Reward.CLOSED_LOOP,
        countries=["US", "DE"],
        currency="USD",
        denominations=[10, 25, 50],
    )
    for name, value in changes.items():
        made.ClearField(name)  # type: ignore[arg-type]
        made.MergeFrom(pb.Reward(**{name: value}))  # type: ignore[arg-type]
    return made
