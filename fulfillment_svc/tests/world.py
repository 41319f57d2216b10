"""The rest of the mesh as real processes: ledger_svc and catalog_svc with databases of their own, and a tenant
made in them for each test. What a test asserts about value it asks the ledger itself."""

import base64
import itertools
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import psycopg
from rewards.catalog.v1 import rewards_pb2 as catalog_pb
from rewards.catalog.v1 import rewards_pb2_grpc as catalog_grpc
from rewards.catalog.v1 import stock_pb2, stock_pb2_grpc
from rewards.identity.v1 import programs_pb2, programs_pb2_grpc
from rewards.identity.v1.programs_pb2 import Fee
from rewards.ledger.v1 import (
    directory_pb2,
    directory_pb2_grpc,
    funding_pb2,
    funding_pb2_grpc,
    journal_pb2,
    journal_pb2_grpc,
    points_pb2,
)
from rewards.ledger.v1 import points_pb2_grpc as points_grpc

from devmesh.pki import Authority
from devmesh.sockets import choose_port
from fulfillment_svc.tests.outside import Process
from svckit.call import Kind, Principal
from svckit.clients import open_channel
from svckit.testing import headers, partner

BRAND: Final = "Kaffa"
REWARD: Final = "kaffa-card"
WITHDRAWN: Final = "kaffa-gone"
CASH: Final = "cash-home"

_OPERATOR: Final = headers(Principal(Kind.OPERATOR, "op"))
_numbers: Final = itertools.count(1)
_RESERVATIONS: Final = """
SELECT coalesce(sum(quantity) FILTER (WHERE state = 'RESERVED'), 0)::bigint, coalesce(sum(consumed), 0)::bigint
FROM stock_reservations WHERE program_id = %s
"""


@dataclass(frozen=True)
class Funds:
    """What an account has, in points or minor units."""

    balance: int
    held: int


@dataclass(frozen=True)
class Stock:
    """Units of a reward: those there are, how many of them are reserved, and how many were sold beside them."""

    units: int
    reserved: int
    sold: int


class Service(Process):
    """A service of the mesh as a process; `url` is its database's."""

    def __init__(self, folder: Path, name: str, url: str, authority: Authority, **env: str) -> None:
        port = choose_port()
        key = folder / "fingerprint_key"
        key.write_bytes(base64.b64encode(secrets.token_bytes(32)))
        self.name = name
        self.address = f"127.0.0.1:{port}"
        self.database_url = url
        common: dict[str, Any] = {
            "REWARDS_LISTEN": self.address,
            "REWARDS_DATABASE_URL": url,
            "REWARDS_TLS_DIR": str(authority.issue(name)),
            "REWARDS_FINGERPRINT_KEY_FILE": str(key),
        }
        super().__init__(folder, name, [name], {**common, **env}, port)


class World:
    """Ledger and catalog, and who talks to them."""

    def __init__(self, authority: Authority, ledger: Service, catalog: Service) -> None:
        self.authority = authority
        self.ledger = ledger
        self.catalog = catalog
        self._open = AsyncExitStack()
        self._channels: dict[tuple[str, str], grpc.aio.Channel] = {}

    async def start(self) -> None:
        """Starts what does not run, and waits until every channel is through again."""
        await self.ledger.start()
        await self.catalog.start()
        for channel in self._channels.values():
            await channel.channel_ready()

    async def stop(self) -> None:
        """Ends everything."""
        await self._open.aclose()
        await self.ledger.stop()
        await self.catalog.stop()

    async def channel(self, peer: str, service: Service) -> grpc.aio.Channel:
        """A channel to a service as the peer of this name."""
        if (peer, service.name) not in self._channels:
            channel = open_channel(service.address, service.name, self.authority.issue(peer))
            self._channels[peer, service.name] = await self._open.enter_async_context(channel)
        return self._channels[peer, service.name]

    async def tenant(
        self,
        *,
        points: int = 10_000,
        funding: float = 1_000.0,
        sandbox: bool = True,
        assets: Sequence[str] = (),
        fees: Sequence[Fee] = (),
    ) -> "Tenant":
        """A new program with one member, a catalog, points and funding; `assets` are those beside its points."""
        program = programs_pb2.Program(
            program_id=f"acme-{next(_numbers)}",
            name="Acme",
            mode=programs_pb2.Program.SANDBOX,
            time_zone="Europe/Berlin",
            currency="USD",
            asset="PTS",
            points_per_unit=80,
            policy=programs_pb2.Policy(more_assets=assets, fees=fees),
            version=1,
        )
        await self._store(program)
        tenant = Tenant(self, program)
        await tenant.set_member("m_1", active=True)
        await tenant.fill(points, funding)
        await tenant.put_catalog()
        if not sandbox:
            # Only a sandbox can be filled here.
            program.mode, program.version = programs_pb2.Program.LIVE, 2
            await self._store(program)
        return tenant

    async def _store(self, program: programs_pb2.Program) -> None:
        for service in (self.ledger, self.catalog):
            directory = programs_pb2_grpc.ProgramDirectoryServiceStub(await self.channel("identity_svc", service))
            await directory.StoreProgram(programs_pb2.StoreProgramRequest(program=program))


class Tenant:
    """A program as its partner and its operator see it."""

    def __init__(self, world: World, program: programs_pb2.Program) -> None:
        self._world = world
        self.program = program
        self.program_id = program.program_id
        self._partner = partner(self.program_id, "points:read", "points:write", "funding:read", "funding:write")

    async def set_member(self, member_id: str, *, active: bool, version: int = 1) -> None:
        """What identity_svc tells the ledger of a member."""
        channel = await self._world.channel("identity_svc", self._world.ledger)
        request = directory_pb2.StoreMemberRequest(
            program_id=self.program_id, member_id=member_id, active=active, version=version
        )
        await directory_pb2_grpc.MemberDirectoryServiceStub(channel).StoreMember(request)

    async def fill(self, points: int, funding: float) -> None:
        """Gives the member points and the program money."""
        channel = await self._world.channel("gateway", self._world.ledger)
        if points:
            credit = points_pb2.CreateCreditRequest(member_id="m_1", points=points)
            await points_grpc.PointsServiceStub(channel).CreateCredit(credit, metadata=self._headers())
        if funding:
            deposit = funding_pb2.CreateDepositRequest(amount=funding, currency="USD")
            await funding_pb2_grpc.FundingServiceStub(channel).CreateDeposit(deposit, metadata=self._headers())

    async def put_catalog(self, points: int = 800, **changes: Any) -> None:
        """One reward that can be had, at so many points for 10 dollars, and one that cannot any more."""
        channel = await self._world.channel("gateway", self._world.catalog)
        common: dict[str, Any] = {
            "name": "Kaffa gift card",
            "brand": BRAND,
            "category": "food",
            "kind": catalog_pb.Reward.CLOSED_LOOP,
            "countries": ["DE", "US"],
            "currency": "USD",
            "denominations": [10.0, 12.5],
        }
        cash = {"brand": "Cash Home", "category": "cashback", "kind": catalog_pb.Reward.CASHBACK}
        rewards = [
            catalog_pb.Reward(reward_id=REWARD, **(common | changes)),
            catalog_pb.Reward(reward_id=WITHDRAWN, availability=catalog_pb.Reward.WITHDRAWN, **common),
            catalog_pb.Reward(reward_id=CASH, **common | cash),
        ]
        costs = {10.0: points, 12.5: points * 5 // 4}
        prices = [catalog_pb.RewardPrice(reward_id=REWARD, denomination=of, points=it) for of, it in costs.items()]
        request = catalog_pb.PutRewardsRequest(program_id=self.program_id, rewards=rewards, prices=prices)
        await catalog_grpc.CatalogServiceStub(channel).PutRewards(request, metadata=_OPERATOR)

    async def put_reward(self, reward_id: str, **changes: Any) -> None:
        """One more reward in the catalog: a card of 10 and 25 dollars, unless changed."""
        channel = await self._world.channel("gateway", self._world.catalog)
        card: dict[str, Any] = {
            "name": f"{reward_id} card",
            "brand": reward_id,
            "category": "retail",
            "kind": catalog_pb.Reward.CLOSED_LOOP,
            "countries": ["DE", "US"],
            "currency": "USD",
        }
        sold = {} if "denomination_range" in changes else {"denominations": [10.0, 25.0]}
        reward = catalog_pb.Reward(reward_id=reward_id, **(card | sold | changes))
        request = catalog_pb.PutRewardsRequest(program_id=self.program_id, rewards=[reward])
        await catalog_grpc.CatalogServiceStub(channel).PutRewards(request, metadata=_OPERATOR)

    async def limit(self, units: int | None) -> None:
        """Says how many there are of the reward."""
        channel = await self._world.channel("gateway", self._world.catalog)
        request = stock_pb2.SetStockRequest(program_id=self.program_id, reward_id=REWARD, units=units)
        await stock_pb2_grpc.StockServiceStub(channel).SetStock(request, metadata=_OPERATOR)

    async def stock(self) -> Stock:
        """The reward's stock by the catalog's own books, which have to agree."""
        async with await psycopg.AsyncConnection.connect(self._world.catalog.database_url) as books:
            stock = await books.execute("SELECT units, reserved FROM stocks WHERE program_id = %s", [self.program_id])
            (row,) = await stock.fetchall()
            kept = await books.execute(_RESERVATIONS, [self.program_id])
            ((held, sold),) = await kept.fetchall()
        assert row[1] == held, "what is reserved is the sum of the reservations that hold"
        return Stock(row[0], held, sold)

    async def void(self, hold_id: str) -> None:
        """Ends a hold behind the back of whoever placed it."""
        channel = await self._world.channel("fulfillment_svc", self._world.ledger)
        request = journal_pb2.VoidHoldRequest(program_id=self.program_id, hold_id=hold_id)
        metadata = (("idempotency-key", secrets.token_hex(8)),)
        await journal_pb2_grpc.JournalServiceStub(channel).VoidHold(request, metadata=metadata)

    async def points(self, asset: str = "") -> Funds:
        """The member's points, or what the member has of another asset."""
        channel = await self._world.channel("gateway", self._world.ledger)
        request = points_pb2.GetBalanceRequest(member_id="m_1", asset=asset)
        found = await points_grpc.PointsServiceStub(channel).GetBalance(request, metadata=self._headers())
        return Funds(found.balance, found.held)

    async def funding(self) -> Funds:
        """The program's money, in cents."""
        channel = await self._world.channel("gateway", self._world.ledger)
        request = funding_pb2.GetFundingRequest()
        found = await funding_pb2_grpc.FundingServiceStub(channel).GetFunding(request, metadata=self._headers())
        (usd,) = [one for one in found.balances if one.currency == "USD"]
        return Funds(round(usd.balance * 100), round(usd.reserved * 100))

    async def statement(self) -> funding_pb2.GetFundingStatementResponse:
        """What moved in the program's money."""
        channel = await self._world.channel("gateway", self._world.ledger)
        stub = funding_pb2_grpc.FundingServiceStub(channel)
        return await stub.GetFundingStatement(funding_pb2.GetFundingStatementRequest(), metadata=self._headers())

    def _headers(self) -> tuple[tuple[str, str], ...]:
        return headers(self._partner, secrets.token_hex(8))
