"""An operator of the mesh, who gives tests programs, partners and credentials of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from rewards.catalog.v1 import rewards_pb2, sync_pb2
from rewards.catalog.v1.rewards_pb2_grpc import CatalogServiceStub
from rewards.catalog.v1.sync_pb2_grpc import SyncServiceStub
from rewards.identity.v1 import credentials_pb2 as pb
from rewards.identity.v1 import programs_pb2
from rewards.identity.v1.credentials_pb2_grpc import CredentialsServiceStub
from rewards.identity.v1.programs_pb2_grpc import ProgramsServiceStub

from devmesh.mesh import Mesh
from devmesh.sandbox_rewards import rewards
from devmesh.seed import FIRST, SCOPES
from svckit.clock import new_id

# The bar for a revocation is that it is acknowledged in less than two seconds.
ACKNOWLEDGED_S = 2


class Operator:
    """An operator's calls, at the mesh's own door."""

    def __init__(self, channel: grpc.aio.Channel, bearer: str) -> None:
        self._credentials = CredentialsServiceStub(channel)
        self._programs = ProgramsServiceStub(channel)
        self._catalog = CatalogServiceStub(channel)
        self._syncs = SyncServiceStub(channel)
        self._bearer = bearer

    async def call(self, name: str, request: Any, within_s: float = 10) -> Any:
        """Calls an RPC about credentials."""
        return await getattr(self._credentials, name)(request, timeout=within_s, metadata=self._headers())

    async def program(self) -> str:
        """A fresh sandbox program."""
        program = programs_pb2.Program(
            program_id=f"program-{new_id()}",
            name="A program",
            mode=programs_pb2.Program.SANDBOX,
            time_zone="UTC",
            currency="USD",
            asset="PTS",
            points_per_unit=80,
        )
        request = programs_pb2.PutProgramRequest(program=program)
        await self._programs.PutProgram(request, timeout=10, metadata=self._headers())
        return program.program_id

    async def reward(self, program_id: str) -> str:
        """A fresh reward of a program, like one of the sandbox's."""
        reward = next(one for one in rewards() if one.reward_id == "copperleaf-coffee-us")
        reward.reward_id = f"coffee-{new_id()}"
        request = rewards_pb2.PutRewardsRequest(program_id=program_id, rewards=[reward])
        await self._catalog.PutRewards(request, timeout=10, metadata=self._headers())
        return reward.reward_id

    async def sync(self) -> str:
        """A synchronisation of a fresh program with the sandbox provider, which changes nothing."""
        request = sync_pb2.StartSyncRequest(program_id=await self.program(), provider="sandbox", dry_run=True)
        started = await self._syncs.StartSync(request, timeout=10, metadata=self._headers())
        return str(started.sync.sync_id)

    async def partner(self, program_id: str = FIRST) -> str:
        """A fresh partner of a program."""
        partner_id = f"partner-{new_id()}"
        partner = pb.Partner(program_id=program_id, partner_id=partner_id, name="A partner")
        await self.call("PutPartner", pb.PutPartnerRequest(partner=partner))
        return partner_id

    async def client(self, program_id: str = FIRST, **more: Any) -> pb.CreateClientResponse:
        """A fresh client with all scopes, unless `more` of the request says otherwise."""
        answer: pb.CreateClientResponse = await self.call(
            "CreateClient", pb.CreateClientRequest(**_of(program_id, more))
        )
        return answer

    async def api_key(self, program_id: str = FIRST, **more: Any) -> str:
        """A fresh API key, likewise."""
        answer = await self.call("CreateApiKey", pb.CreateApiKeyRequest(**_of(program_id, more)))
        return str(answer.api_key)

    def _headers(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self._bearer}"), ("idempotency-key", str(new_id())))


@asynccontextmanager
async def operating(mesh: Mesh) -> AsyncIterator[Operator]:
    """The mesh's own operator."""
    async with grpc.aio.insecure_channel(mesh.env["REWARDS_GRPC"]) as channel:
        yield Operator(channel, mesh.env["REWARDS_ADMIN_TOKEN"])


def _of(program_id: str, more: dict[str, Any]) -> dict[str, Any]:
    return {"program_id": program_id, "name": "x", "scopes": SCOPES, "plan_id": "standard", **more}
