"""RedeemPoints over the whole REST chain against an empty RPC behind the same Envoy, in turn."""

import json
import os

import grpc
from rewards.identity.v1 import credentials_pb2, credentials_pb2_grpc, members_pb2, members_pb2_grpc
from rewards.ledger.v1 import points_pb2, points_pb2_grpc

from bench.empty import bare_envoy
from bench.figures import Figure, against
from bench.load import Plan, generate
from devmesh.mesh import Mesh
from devmesh.parts import Parts
from devmesh.seed import FIRST, SCOPES
from svckit.clock import new_id

NAME = "rest_redeem_vs_bare_envoy"
MEMBERS = 100
POINTS = 1_000_000
CONNECTIONS = 64
WARM_UP = 300
REQUESTS = 2_000
RUNS = 3
UNLIMITED = 1_000_000


async def measure(mesh: Mesh) -> list[Figure]:
    """The figures of the REST chain. Raises RuntimeError if a request was not answered with 200."""
    token = await _credential(mesh)
    members = [f"bench_{number}" for number in range(MEMBERS)]
    await _enrol(mesh, token, members)
    bodies = [json.dumps({"memberId": member, "points": 1}) for member in members]
    async with bare_envoy(mesh, Parts(mesh.layout, os.environ)) as bare_port:
        whole = Plan(mesh.layout.ports["rest"], "/v1/RedeemPoints", token, bodies, CONNECTIONS, WARM_UP)
        bare = Plan(bare_port, "/v1/RedeemPoints", token, bodies, CONNECTIONS, WARM_UP)
        await _rate(whole)
        await _rate(bare)
        pairs = [(await _rate(whole, REQUESTS), await _rate(bare, REQUESTS)) for _ in range(RUNS)]
    values, baselines = zip(*pairs, strict=True)
    return [against(NAME, "requests/s", values, baselines)]


async def _rate(plan: Plan, requests: int = WARM_UP) -> float:
    result = await generate(Plan(plan.port, plan.path, plan.token, plan.bodies, plan.connections, requests))
    if result.failed:
        raise RuntimeError(f"{result.failed} of {requests} requests to port {plan.port} were not answered with 200")
    return result.rate


async def _credential(mesh: Mesh) -> str:
    """An API key whose plan limits nothing."""
    operator = (("authorization", f"Bearer {mesh.env['REWARDS_ADMIN_TOKEN']}"), ("idempotency-key", str(new_id())))
    async with grpc.aio.insecure_channel(mesh.env["REWARDS_GRPC"]) as channel:
        stub = credentials_pb2_grpc.CredentialsServiceStub(channel)
        plan = credentials_pb2.Plan(
            plan_id="bench", requests_per_second=UNLIMITED, burst=UNLIMITED, requests_per_day=10**12
        )
        await stub.PutPlan(credentials_pb2.PutPlanRequest(plan=plan), metadata=operator)
        request = credentials_pb2.CreateApiKeyRequest(
            program_id=FIRST, name="Benchmark", scopes=SCOPES, plan_id="bench"
        )
        return str((await stub.CreateApiKey(request, metadata=operator)).api_key)


async def _enrol(mesh: Mesh, token: str, members: list[str]) -> None:
    async with grpc.aio.insecure_channel(mesh.env["REWARDS_GRPC"]) as channel:
        profiles = members_pb2_grpc.MembersServiceStub(channel)
        points = points_pb2_grpc.PointsServiceStub(channel)
        for member in members:
            keyed = (("authorization", f"Bearer {token}"), ("idempotency-key", f"bench-{member}"))
            await profiles.CreateProfileWithAttributes(
                members_pb2.CreateProfileWithAttributesRequest(member_id=member), metadata=keyed
            )
            await points.CreateCredit(points_pb2.CreateCreditRequest(member_id=member, points=POINTS), metadata=keyed)
