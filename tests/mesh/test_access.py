"""Rotation and revocation as partners see them: through two Envoys, each with a gatekeeper of its own, and without
Redis."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from rewards.identity.v1 import credentials_pb2 as pb
from rewards.identity.v1.credentials_pb2_grpc import CredentialsServiceStub

from devmesh.mesh import Mesh
from devmesh.seed import FIRST
from svckit.clock import new_id
from tests.mesh.conftest import Api
from tests.mesh.twin import second_door

TRIALS = 100
SCOPES = ["points:read", "credentials:write"]


class Operator:
    """An operator's calls, at the mesh's own door."""

    def __init__(self, channel: grpc.aio.Channel, bearer: str) -> None:
        self._stub = CredentialsServiceStub(channel)
        self._bearer = bearer

    async def call(self, name: str, request: Any) -> Any:
        headers = (("authorization", f"Bearer {self._bearer}"), ("idempotency-key", str(new_id())))
        return await getattr(self._stub, name)(request, timeout=10, metadata=headers)

    async def partner(self) -> str:
        """A fresh partner of the first program."""
        partner_id = f"partner-{new_id()}"
        partner = pb.Partner(program_id=FIRST, partner_id=partner_id, name="A partner")
        await self.call("PutPartner", pb.PutPartnerRequest(partner=partner))
        return partner_id

    async def client(self, partner_id: str) -> pb.CreateClientResponse:
        wanted: dict[str, Any] = {"program_id": FIRST, "name": "x", "scopes": SCOPES, "plan_id": "standard"}
        answer: pb.CreateClientResponse = await self.call(
            "CreateClient", pb.CreateClientRequest(partner_id=partner_id, **wanted)
        )
        return answer

    async def api_key(self, partner_id: str) -> str:
        wanted: dict[str, Any] = {"program_id": FIRST, "name": "x", "scopes": SCOPES, "plan_id": "standard"}
        answer = await self.call("CreateApiKey", pb.CreateApiKeyRequest(partner_id=partner_id, **wanted))
        return str(answer.api_key)


@pytest.fixture
async def operator(mesh: Mesh) -> AsyncIterator[Operator]:
    async with grpc.aio.insecure_channel(mesh.env["REWARDS_GRPC"]) as channel:
        yield Operator(channel, mesh.env["REWARDS_ADMIN_TOKEN"])


@pytest.fixture
async def doors(mesh: Mesh, http: aiohttp.ClientSession, tmp_path: Path) -> AsyncIterator[list[aiohttp.ClientSession]]:
    async with second_door(mesh, tmp_path) as url, aiohttp.ClientSession(base_url=url) as other:
        yield [http, other]


@pytest.fixture(params=["with Redis", "without Redis"])
def redis(request: pytest.FixtureRequest, mesh: Mesh) -> Iterator[None]:
    """Nothing here may hang on Redis. One that is stopped and not gone is the worse of the two."""
    dead = request.param == "without Redis"
    if dead:
        mesh.kill("redis", signal.SIGSTOP)
    yield
    if dead:
        mesh.kill("redis", signal.SIGCONT)


async def fetch(door: aiohttp.ClientSession, client_id: str, secret: str) -> tuple[int, dict[str, Any]]:
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    async with door.post("/oauth/token", data=form) as response:
        return response.status, await response.json()


async def codes(doors: list[aiohttp.ClientSession], credential: str, trials: int = 1) -> set[int]:
    """The ErrorCodes of so many calls at each door."""
    body = {"memberId": "m_zero"}
    calls = (Api(door, credential).post("GetBalance", body) for door in doors for _ in range(trials))
    return {answer.code for answer in await asyncio.gather(*calls)}


async def refused_everywhere(doors: list[aiohttp.ClientSession], credential: str) -> bool:
    """Whether not one of many calls passes. Where a busy machine keeps a gatekeeper from answering within the second
    that Envoy waits for it, Envoy refuses with UNAVAILABLE."""
    found = await codes(doors, credential, TRIALS)
    return {2001} <= found <= {2001, 9002}


@pytest.mark.usefixtures("redis")
async def test_a_rotation_holds_at_every_door_from_its_acknowledgement_on(
    operator: Operator, doors: list[aiohttp.ClientSession]
) -> None:
    client = await operator.client(await operator.partner())
    _, granted = await fetch(doors[0], client.client_id, client.client_secret)
    old = granted["access_token"]
    assert await codes(doors, old) == {0}
    request, key = {"clientId": client.client_id}, str(new_id())
    started = time.monotonic()
    rotated = await Api(doors[0], old).post("RotateCredentials", request, key=key)
    assert rotated.status == 200, rotated
    assert time.monotonic() - started < 2
    assert set(rotated.result) == {"clientId", "clientSecret", "rotatedAt"}
    assert await refused_everywhere(doors, old)
    for door in doors:
        status, refused = await fetch(door, client.client_id, client.client_secret)
        assert (status, refused["error"]) == (401, "invalid_client")
        status, granted = await fetch(door, client.client_id, rotated.result["clientSecret"])
        assert status == 200
        assert await codes(doors, granted["access_token"]) == {0}
    again = await Api(doors[1], granted["access_token"]).post("RotateCredentials", request, key=key)
    assert (again.body, again.headers["idempotency-replayed"]) == (rotated.body, "true")


@pytest.mark.usefixtures("redis")
async def test_a_revocation_holds_at_every_door_from_its_acknowledgement_on(
    operator: Operator, doors: list[aiohttp.ClientSession]
) -> None:
    partner_id = await operator.partner()
    client, key = await operator.client(partner_id), await operator.api_key(partner_id)
    _, granted = await fetch(doors[0], client.client_id, client.client_secret)
    credentials = [granted["access_token"], key]
    for credential in credentials:
        assert await codes(doors, credential) == {0}
    started = time.monotonic()
    await operator.call("RevokeAccess", pb.RevokeAccessRequest(program_id=FIRST, partner_id=partner_id))
    assert time.monotonic() - started < 2
    for credential in credentials:
        assert await refused_everywhere(doors, credential)


async def test_a_partner_revokes_its_own_key(operator: Operator, http: aiohttp.ClientSession) -> None:
    partner_id = await operator.partner()
    key, other = await operator.api_key(partner_id), await operator.api_key(partner_id)
    key_id = key.rpartition("_")[0]
    revoked = await Api(http, other).call("POST", f"/v1/credentials/{key_id}:revoke", {})
    assert (revoked.status, set(revoked.result)) == (200, {"credentialId", "revokedAt"})
    assert await codes([http], key) == {2001}
    foreign = await Api(http, other).call("POST", "/v1/credentials/rk_test_nobody:revoke", {})
    assert (foreign.status, foreign.code) == (404, 1004)
