"""The REST chain against an empty RPC behind the same Envoy, in turn: what it carries, and what its gate costs."""

import json
import os
from dataclasses import replace

import grpc
from rewards.identity.v1 import credentials_pb2, credentials_pb2_grpc, members_pb2, members_pb2_grpc
from rewards.ledger.v1 import points_pb2, points_pb2_grpc

from bench.empty import GATE, envoys
from bench.figures import Figure, absolute, against
from bench.load import Plan, Result, generate
from devmesh.mesh import Mesh
from devmesh.parts import Parts
from devmesh.seed import FIRST, SCOPES
from svckit.clock import new_id

REDEEM = "rest_redeem_vs_bare_envoy"
ADDED = "gate_added_p50_ms"
NAMES = (REDEEM, ADDED)
MEMBERS = 100
POINTS = 1_000_000
PATH = "/v1/RedeemPoints"
CONNECTIONS = 64
WARM_UP = 300
REQUESTS = 2_000
RUNS = 3
# What the gate adds is seen by a caller with one request under way: with more, requests wait for each other.
ALONE = 1
ROUND = 300
ROUNDS = 9
UNLIMITED = 1_000_000


async def measure(mesh: Mesh, wanted: tuple[str, ...]) -> list[Figure]:
    """The figures of the REST chain whose names begin as wanted. Raises RuntimeError if a request was not answered with
    200."""
    token = await _credential(mesh)
    members = [f"bench_{number}" for number in range(MEMBERS)]
    await _enrol(mesh, token, members)
    bodies = [json.dumps({"memberId": member, "points": 1}) for member in members]
    parts, figures = Parts(mesh.layout, os.environ), []
    async with envoys(mesh, parts, GATE, frozenset()) as ports:
        bare, whole = (Plan(port, PATH, token, bodies, CONNECTIONS, WARM_UP) for port in ports)
        if REDEEM.startswith(wanted):
            figures.append(await _redeem(replace(whole, port=mesh.layout.ports["rest"]), bare))
        if ADDED.startswith(wanted):
            figures += await _gate(bare, whole)
    return figures


async def _redeem(whole: Plan, bare: Plan) -> Figure:
    """The whole chain with the ledger behind it against the bare one with nothing."""
    for plan in (whole, bare):
        await _run(plan)
    longer = [replace(plan, requests=REQUESTS) for plan in (whole, bare)]
    pairs = [[(await _run(plan)).rate for plan in longer] for _ in range(RUNS)]
    values, baselines = zip(*pairs, strict=True)
    return against(REDEEM, "requests/s", values, baselines)


async def _gate(*plans: Plan) -> list[Figure]:
    """What the gatekeeper, who authenticates and counts, adds to the median answer of the bare chain, and how that
    compares with the answer itself. Rounds take turns, so that each difference is of one moment."""
    alone = [replace(plan, connections=ALONE, requests=ROUND) for plan in plans]
    for plan in alone:
        await _run(plan)
    medians = [[(await _run(plan)).p50_ms for plan in alone] for _ in range(ROUNDS)]
    added = [whole - bare for bare, whole in medians]
    return [absolute(ADDED, "ms", added), against(f"{ADDED}_vs_bare", "ms", added, [bare for bare, _ in medians])]


async def _run(plan: Plan) -> Result:
    result = await generate(plan)
    if result.failed:
        raise RuntimeError(
            f"{result.failed} of {plan.requests} requests to port {plan.port} were not answered with 200"
        )
    return result


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
