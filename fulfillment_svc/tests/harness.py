"""Redemptions under test: the room on a fresh database, between real peers, and the whole of what must hold."""

import asyncio
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.headerregistry import Address
from typing import Any

import grpc
from rewards.catalog.v1.rewards_pb2_grpc import CatalogServiceStub
from rewards.catalog.v1.stock_pb2_grpc import StockServiceStub
from rewards.fulfillment.v1 import (
    claims_pb2_grpc,
    order_batches_pb2_grpc,
    orders_pb2_grpc,
    providers_pb2_grpc,
    redemptions_pb2_grpc,
    review_pb2_grpc,
)
from rewards.fulfillment.v1 import redemptions_pb2 as pb
from rewards.identity.v1.programs_pb2 import Compliance
from rewards.ledger.v1.cashback_pb2_grpc import CashbackServiceStub
from rewards.ledger.v1.journal_pb2_grpc import JournalServiceStub
from sqlalchemy import text

from fulfillment_svc.batches import assembly as batches
from fulfillment_svc.codes import Vault
from fulfillment_svc.compliance.by_rules import ByRules
from fulfillment_svc.orders import assembly as orders
from fulfillment_svc.orders.invitations import Invitations
from fulfillment_svc.orders.purse import Purses
from fulfillment_svc.providers import assembly as providers
from fulfillment_svc.providers.callbacks import CallbacksServicer
from fulfillment_svc.providers.cashback import Cashback
from fulfillment_svc.providers.mapped.configuration import Configured
from fulfillment_svc.providers.over_http import HttpProvider
from fulfillment_svc.providers.routing import Router
from fulfillment_svc.redemptions.assembly import Room, assemble
from fulfillment_svc.redemptions.failpoints import Killed
from fulfillment_svc.redemptions.mail import Mailer
from fulfillment_svc.redemptions.steps import Outside
from fulfillment_svc.review.servicer import ReviewServicer
from fulfillment_svc.tables import keys, programs
from fulfillment_svc.tests.outside import Mailbox, SandboxProvider
from fulfillment_svc.tests.world import REWARD, Funds, Tenant, World
from fulfillment_svc.webhooks import ingest_store as events
from fulfillment_svc.webhooks.ssrf import Guard
from svckit.clock import system_clock
from svckit.db import Database
from svckit.idempotency import Idempotency
from svckit.testing import headers, partner

SITE = "https://rewards.example"
SENDER = Address("Rewards", addr_spec="no-reply@rewards.mesh")


ENDS = {
    "FULFILLED": "redemption.fulfilled",
    "PARTIALLY_FULFILLED": "redemption.fulfilled",
    "FAILED": "redemption.failed",
    "CANCELLED": "redemption.cancelled",
}


@dataclass
class Harness:
    """The room of one test. `stub` calls it as the gateway does; `start` serves it anew, with what is `configured`."""

    db: Database
    world: World
    provider: SandboxProvider
    mailbox: Mailbox
    adapter: HttpProvider
    master_key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    configured: Sequence[Configured] = ()
    stub: Any = None
    start: Any = None

    async def assemble(self) -> Room:
        """A room on the same database, as another process would have one."""
        outside, vault = await self.outside(), Vault([self.master_key])
        return assemble(self.db, self.idempotent(), vault, outside, events.ingest, system_clock)

    async def assemble_orders(self, room: Room) -> orders.Room:
        """The rooms of orders and claims beside it."""
        invitations = Invitations(Vault([self.master_key]), SITE, b"fingerprint")
        outside = await self.outside()
        return orders.assemble(self.db, self.idempotent(), invitations, outside, system_clock, room)

    async def assemble_batches(self, ordered: orders.Room) -> batches.Room:
        """The room of batches beside them."""
        vault, journal = Vault([self.master_key]), (await self.outside()).journal
        return batches.assemble(self.db, self.idempotent(), vault, ordered, journal, system_clock)

    async def outside(self) -> Outside:
        """Whom the rooms talk to."""
        catalog = await self.world.channel("fulfillment_svc", self.world.catalog)
        journal = JournalServiceStub(await self.world.channel("fulfillment_svc", self.world.ledger))
        return Outside(
            catalog=CatalogServiceStub(catalog),
            stock=StockServiceStub(catalog),
            journal=journal,
            compliance=ByRules(self.db, b"fingerprint", system_clock),
            router=self.router(await self.world.channel("fulfillment_svc", self.world.ledger)),
            mailer=Mailer("127.0.0.1", self.mailbox.port, SENDER),
            purse=Purses(self.db, journal, system_clock),
        )

    def router(self, ledger: grpc.aio.Channel) -> Router:
        """The lines of providers, as the service has them."""
        guard = Guard(allow_loopback=True)
        return providers.assemble(self.adapter, Cashback(CashbackServiceStub(ledger)), self.configured, guard)

    def idempotent(self) -> Idempotency:
        """The keys of the database."""
        return Idempotency(self.db, keys, b"fingerprint")

    async def served(self) -> list[object]:
        """What the service serves of the room."""
        room = await self.assemble()
        ordered = await self.assemble_orders(room)
        callbacks = CallbacksServicer({"sandbox": ["b2xkIHNlY3JldA==", self.provider.door.secret]}, room.look_again)
        return [
            room.servicer,
            callbacks,
            ReviewServicer(self.db, self.idempotent(), room, ordered),
            ordered.orders,
            (await self.assemble_batches(ordered)).servicer,
            ordered.claims,
        ]

    async def serve(self, channel: grpc.aio.Channel) -> None:
        """Calls the room over this channel."""
        self._channel = channel
        self.stub = redemptions_pb2_grpc.RedemptionsServiceStub(channel)
        self.callbacks = providers_pb2_grpc.ProvidersServiceStub(channel)
        self.desk = review_pb2_grpc.ReviewServiceStub(channel)
        self.orders = orders_pb2_grpc.OrdersServiceStub(channel)
        self.batches = order_batches_pb2_grpc.OrderBatchesServiceStub(channel)
        self.claims = claims_pb2_grpc.ClaimsServiceStub(channel)

    def answer_callbacks(self) -> None:
        """From now on the provider's callbacks reach the room."""
        self.provider.door.stub = self.callbacks

    async def connected(self) -> None:
        """Waits until the channel is through again, after its other end was away."""
        await self._channel.channel_ready()

    async def tenant(self, **funds: Any) -> Tenant:
        """A new tenant that this service knows as well."""
        tenant = await self.world.tenant(**funds)
        await self.db.transact(lambda tx: programs.store(tx, tenant.program))
        return tenant

    async def obey(self, tenant: Tenant, **rules: Any) -> None:
        """Gives the tenant rules of compliance, as this service is told them."""
        tenant.program.policy.compliance.CopyFrom(Compliance(**rules))
        await self.store(tenant)

    async def store(self, tenant: Tenant) -> None:
        """Tells this service what has become of the tenant's settings."""
        tenant.program.version += 1
        await self.db.transact(lambda tx: programs.store(tx, tenant.program))

    async def create(self, tenant: Tenant, key: str, **changes: Any) -> pb.Redemption:
        """Redeems 10 dollars of the reward, unless changed."""
        metadata = headers(partner(tenant.program_id, "redemptions:write"), key)
        response: pb.CreateRedemptionResponse = await self.stub.CreateRedemption(request(**changes), metadata=metadata)
        return response.redemption

    async def replayed(self, tenant: Tenant, key: str, **changes: Any) -> tuple[pb.Redemption, bool]:
        """What the same call answers now, and whether it says that it is a replay."""
        metadata = headers(partner(tenant.program_id, "redemptions:write"), key)
        call = self.stub.CreateRedemption(request(**changes), metadata=metadata)
        response = await call
        sent = dict(await call.initial_metadata())
        return response.redemption, sent.get("idempotency-replayed") == "true"

    async def cancel(self, tenant: Tenant, redemption_id: str, key: str = "cancel") -> pb.Redemption:
        """Calls a redemption off."""
        metadata = headers(partner(tenant.program_id, "redemptions:write"), key)
        sent = pb.CancelRedemptionRequest(redemption_id=redemption_id)
        response: pb.CancelRedemptionResponse = await self.stub.CancelRedemption(sent, metadata=metadata)
        return response.redemption

    async def get(self, tenant: Tenant, redemption_id: str) -> pb.Redemption:
        """Reads a redemption."""
        metadata = headers(partner(tenant.program_id, "redemptions:read"))
        sent = pb.GetRedemptionRequest(redemption_id=redemption_id)
        response: pb.GetRedemptionResponse = await self.stub.GetRedemption(sent, metadata=metadata)
        return response.redemption

    async def expire_leases(self) -> None:
        """Makes every open redemption due, as if all leases had run out and all pauses were over."""
        await self.execute("UPDATE redemptions SET due_at = now() WHERE due_at IS NOT NULL")

    async def execute(self, statement: str, **values: Any) -> Sequence[Any]:
        """Runs a statement as the service's role; gives its rows."""

        async def work(tx: Any) -> Sequence[Any]:
            result = await tx.execute(text(statement), values)
            return result.all() if result.returns_rows else []

        return await self.db.transact(work)

    async def finish(self, room: Room, rounds: int = 30) -> None:
        """Works until nothing is open. A failpoint that strikes is a crash, and another worker goes on."""
        for _ in range(rounds):
            await self.expire_leases()
            if not await self.execute("SELECT 1 FROM redemptions WHERE due_at IS NOT NULL"):
                return
            try:
                await room.saga.work()
            except Killed:
                room = await self.assemble()
        raise AssertionError(await self.execute("SELECT state, answer, reason, attempts FROM redemptions"))

    async def all_ended(self) -> None:
        """Waits until workers that run have ended everything."""
        async with asyncio.timeout(60):
            while await self.execute("SELECT 1 FROM redemptions WHERE due_at IS NOT NULL"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def issued(self, redemption_id: str) -> int:
        """How often the provider has issued it, by the provider's own journal."""
        entries = await self.provider.journal(redemption_id)
        return sum(entry["event"] == "DECIDED" and entry["status"] == "ISSUED" for entry in entries)

    async def issued_units(self, redemption_id: str) -> list[int]:
        """The numbers of the items that the provider has issued, by its own journal."""
        entries = await self.provider.journal(redemption_id)
        return [item["number"] for entry in entries for item in entry.get("items", ()) if "code" in item]

    async def check(self, tenant: Tenant, before: Funds, funding_before: Funds) -> str:
        """What must hold of a tenant's one redemption at its end, whatever happened; its state (R2, R3, R6)."""
        rows = await self.execute("SELECT * FROM redemptions WHERE program_id = :p", p=tenant.program_id)
        (row,) = rows
        issued = await self.issued(str(row.redemption_id))
        assert (row.state, issued) in (("FULFILLED", 1), ("PARTIALLY_FULFILLED", 1), ("FAILED", 0), ("CANCELLED", 0))
        units = await self.issued_units(str(row.redemption_id))
        points, fees = (
            sum(total // row.quantity + (unit <= total % row.quantity) for unit in units)
            for total in (row.points, row.fees_minor)
        )
        value = len(units) * row.denomination_minor + fees
        assert (len(units) == row.quantity) == (row.state == "FULFILLED")
        assert await tenant.points() == Funds(before.balance - points, 0)
        assert await tenant.funding() == Funds(funding_before.balance - value, 0)
        history = await self.execute(
            "SELECT version, state FROM redemption_edges WHERE redemption_id = :r ORDER BY version", r=row.redemption_id
        )
        assert [edge.version for edge in history] == list(range(1, row.version + 1))
        assert [edge.state for edge in history if edge.state in ENDS] == [row.state]
        told = await self.execute("SELECT type FROM events WHERE program_id = :p", p=tenant.program_id)
        # A request that was refused was answered so, and there is nothing else to tell.
        assert [one.type for one in told] == ([] if row.refusal else [ENDS[row.state]])
        return str(row.state)


def request(**changes: Any) -> pb.CreateRedemptionRequest:
    """A request for one item of 10 dollars."""
    wanted: dict[str, Any] = {
        "member_id": "m_1",
        "reward_id": REWARD,
        "denomination": 10.0,
        "recipient": pb.Recipient(email="ada@example.com", name="Ada", country="DE"),
    }
    return pb.CreateRedemptionRequest(**(wanted | changes))


def address() -> pb.Recipient:
    """A recipient nobody else has."""
    return pb.Recipient(email=f"{uuid.uuid4().hex}@example.com", name="Ada Lovelace", country="DE")
