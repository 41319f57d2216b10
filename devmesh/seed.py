"""The sandbox's data, put in through the mesh's own RPCs, so that it obeys every rule it is there to show.

Every call has a fixed idempotency key or is idempotent by nature: a seed that was cut off is run again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import Message
from rewards.catalog.v1 import rewards_pb2, rewards_pb2_grpc
from rewards.identity.v1 import (
    credentials_pb2,
    credentials_pb2_grpc,
    members_pb2,
    members_pb2_grpc,
    programs_pb2,
    programs_pb2_grpc,
)
from rewards.ledger.v1 import earning_pb2, earning_pb2_grpc, funding_pb2, funding_pb2_grpc, points_pb2, points_pb2_grpc

from devmesh.sandbox_rewards import CURRENCY_OF, prices, rewards

if TYPE_CHECKING:
    from devmesh.mesh import Mesh

SCOPES = (
    *("members:read", "members:write", "points:read", "points:write", "events:write", "catalog:read"),
    *(
        "redemptions:read",
        "redemptions:write",
        "redemptions:reveal",
        "orders:read",
        "orders:write",
        "funding:read",
        "funding:write",
        "webhooks:write",
        "reports:read",
        "credentials:write",
    ),
)
FIRST, SECOND = "sandbox-acme", "sandbox-globex"
_LOGO = Path(__file__).with_name("acme.png")
DEPOSIT = 100_000


@dataclass(frozen=True)
class _Door:
    """A channel to the mesh's own door with a bearer credential."""

    channel: grpc.aio.Channel
    bearer: str

    async def call(self, rpc: Callable[..., Awaitable[Any]], request: Message, key: str = "") -> Any:
        """Calls an RPC, under an idempotency key where it needs one."""
        headers = [("authorization", f"Bearer {self.bearer}"), *([("idempotency-key", f"seed:{key}")] if key else [])]
        return await rpc(request, timeout=10, metadata=tuple(headers))


async def seed(mesh: "Mesh") -> dict[str, str]:
    """Fills the sandbox and gives the variables of `<home>/env`: the credentials of two programs."""
    async with grpc.aio.insecure_channel(mesh.env["REWARDS_GRPC"]) as channel:
        operator = _Door(channel, mesh.env["REWARDS_ADMIN_TOKEN"])
        await _plans(operator)
        first = await _program(operator, FIRST, "Acme Rewards", "America/New_York", "standard")
        second = await _program(operator, SECOND, "Globex Club", "Europe/Berlin", "small")
        await _branding(operator)
        await _first_program(_Door(channel, first["API_KEY"]))
        await _member(_Door(channel, second["API_KEY"]), "g_1001", 2_000)
    return {
        "REWARDS_CLIENT_ID": first["CLIENT_ID"],
        "REWARDS_CLIENT_SECRET": first["CLIENT_SECRET"],
        "REWARDS_API_KEY": first["API_KEY"],
        "REWARDS_EXPIRED_API_KEY": first["EXPIRED_API_KEY"],
        "REWARDS2_CLIENT_ID": second["CLIENT_ID"],
        "REWARDS2_CLIENT_SECRET": second["CLIENT_SECRET"],
    }


async def _plans(operator: _Door) -> None:
    stub = credentials_pb2_grpc.CredentialsServiceStub(operator.channel)
    for plan_id, rate, burst, a_day in (("standard", 200, 400, 1_000_000), ("small", 20, 40, 10_000)):
        plan = credentials_pb2.Plan(plan_id=plan_id, requests_per_second=rate, burst=burst, requests_per_day=a_day)
        await operator.call(stub.PutPlan, credentials_pb2.PutPlanRequest(plan=plan))


async def _program(operator: _Door, program_id: str, name: str, zone: str, plan_id: str) -> dict[str, str]:
    program = programs_pb2.Program(
        program_id=program_id,
        name=name,
        mode=programs_pb2.Program.SANDBOX,
        time_zone=zone,
        currency="USD",
        asset="PTS",
        points_per_unit=80,
        policy=programs_pb2.Policy(transfer_max_points=10_000, adjust_alone_max_points=1_000),
    )
    programs = programs_pb2_grpc.ProgramsServiceStub(operator.channel)
    await operator.call(programs.PutProgram, programs_pb2.PutProgramRequest(program=program))
    rule = earning_pb2.EarningRule(rule_id="base", version=1, points_numerator=1, points_denominator=1)
    earning = earning_pb2_grpc.EarningRulesServiceStub(operator.channel)
    await operator.call(earning.PutRule, earning_pb2.PutRuleRequest(program_id=program_id, rule=rule))
    catalog = rewards_pb2_grpc.CatalogServiceStub(operator.channel)
    goods = rewards_pb2.PutRewardsRequest(program_id=program_id, rewards=rewards(), prices=prices())
    await operator.call(catalog.PutRewards, goods)
    return await _credentials(operator, program_id, plan_id)


async def _branding(operator: _Door) -> None:
    programs = programs_pb2_grpc.ProgramsServiceStub(operator.channel)
    acme = programs_pb2.Branding(
        logo=_LOGO.read_bytes(),
        primary_colour="#1d3f72",
        accent_colour="#9c4a00",
        support_contact="help@acme.example",
    )
    globex = programs_pb2.Branding(primary_colour="#ffd43b", support_contact="https://globex.example/help")
    for program_id, branding in ((FIRST, acme), (SECOND, globex)):
        request = programs_pb2.BrandProgramRequest(program_id=program_id, branding=branding)
        await operator.call(programs.BrandProgram, request)


async def _credentials(operator: _Door, program_id: str, plan_id: str) -> dict[str, str]:
    stub = credentials_pb2_grpc.CredentialsServiceStub(operator.channel)
    of_program: dict[str, Any] = {"program_id": program_id, "scopes": SCOPES, "plan_id": plan_id}
    client = await operator.call(
        stub.CreateClient, credentials_pb2.CreateClientRequest(name="Sandbox client", **of_program), program_id
    )
    key = await operator.call(
        stub.CreateApiKey, credentials_pb2.CreateApiKeyRequest(name="Sandbox key", **of_program), f"{program_id}:key"
    )
    expired = credentials_pb2.CreateApiKeyRequest(name="Expired key", **of_program)
    expired.expires_at.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
    old = await operator.call(stub.CreateApiKey, expired, f"{program_id}:expired")
    return {
        "CLIENT_ID": client.client_id,
        "CLIENT_SECRET": client.client_secret,
        "API_KEY": key.api_key,
        "EXPIRED_API_KEY": old.api_key,
    }


async def _first_program(partner: _Door) -> None:
    await _member(partner, "m_8124", 5_000)
    await _member(partner, "m_zero", 0)
    await _member(partner, "m_suspended", 500)
    members = members_pb2_grpc.MembersServiceStub(partner.channel)
    suspend = members_pb2.UpdateProfileRequest(member_id="m_suspended", status=members_pb2.Member.SUSPENDED)
    await partner.call(members.UpdateProfile, suspend, "suspend")
    funding = funding_pb2_grpc.FundingServiceStub(partner.channel)
    for currency in sorted(set(CURRENCY_OF.values())):
        deposit = funding_pb2.CreateDepositRequest(amount=DEPOSIT, currency=currency)
        await partner.call(funding.CreateDeposit, deposit, f"deposit:{currency}")


async def _member(partner: _Door, member_id: str, points: int) -> None:
    members = members_pb2_grpc.MembersServiceStub(partner.channel)
    create = members_pb2.CreateProfileWithAttributesRequest(member_id=member_id)
    await partner.call(members.CreateProfileWithAttributes, create, f"member:{member_id}")
    if points:
        credit = points_pb2.CreateCreditRequest(member_id=member_id, points=points, reason="Welcome")
        await partner.call(
            points_pb2_grpc.PointsServiceStub(partner.channel).CreateCredit, credit, f"credit:{member_id}"
        )
