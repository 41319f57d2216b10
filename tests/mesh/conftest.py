"""One mesh for all journeys: every process real, from Envoy to PostgreSQL."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from rewards.identity.v1 import credentials_pb2

from devmesh.demo.partner import Answer
from devmesh.mesh import Mesh
from devmesh.seed import SECOND
from ledger_svc.verify.report import faults, findings
from svckit.clock import new_id
from tests.mesh.operators import Operator, operating
from tests.mesh.truth import Document
from tests.mesh.twin import second_door

TIRELESS = "tireless"


@dataclass
class Api:
    """A partner's calls, with a key of its own each unless one is given."""

    http: aiohttp.ClientSession
    token: str

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = {"authorization": f"Bearer {self.token}", "idempotency-key": key or str(new_id()), **(headers or {})}
        async with self.http.request(method, path, json=body, headers=sent) as response:
            lowered = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, lowered, await response.json())

    async def post(self, operation: str, body: Any = None, **more: Any) -> Answer:
        return await self.call("POST", f"/v1/{operation}", body, **more)

    async def member(self, points: int = 0) -> str:
        """A fresh member with so many points."""
        answer = await self.post("CreateProfileWithAttributes", {})
        assert answer.status == 200, answer
        member_id = str(answer.result["memberId"])
        if points:
            credited = await self.post("credits", {"memberId": member_id, "points": points})
            assert credited.status == 200, credited
        return member_id

    async def balance(self, member_id: str) -> dict[str, Any]:
        return (await self.post("GetBalance", {"memberId": member_id})).result


async def token(http: aiohttp.ClientSession, mesh: Mesh, prefix: str = "REWARDS", scope: str | None = None) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": mesh.env[f"{prefix}_CLIENT_ID"],
        "client_secret": mesh.env[f"{prefix}_CLIENT_SECRET"],
        **({"scope": scope} if scope else {}),
    }
    async with http.post("/oauth/token", data=form) as response:
        body = await response.json()
        assert response.status == 200, body
        return str(body["access_token"])


async def until(condition: Callable[[], Awaitable[Any]], within_s: float = 30.0) -> Any:
    """What `condition` gives as soon as it is true; fails if it never is."""
    deadline_s = time.monotonic() + within_s
    while not (found := await condition()):
        assert time.monotonic() < deadline_s, "it did not become true in time"
        await asyncio.sleep(0.05)
    return found


@pytest.fixture(scope="session")
async def mesh() -> AsyncIterator[Mesh]:
    # Not below pytest's own folder, which every run of pytest closes to the account that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="rewards-mesh-") as home:
        async with Mesh(Path(home) / "home") as running:
            yield running


@pytest.fixture(scope="session")
async def document(mesh: Mesh) -> Document:
    """What the mesh says of itself."""
    async with aiohttp.ClientSession() as session, session.get(f"{mesh.url}/v1/openapi.json") as response:
        assert response.status == 200
        return Document(await response.json())


@pytest.fixture
async def http(mesh: Mesh, document: Document) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose every answer must be as the served document says."""

    async def check(_: aiohttp.ClientSession, __: SimpleNamespace, ended: aiohttp.TraceRequestEndParams) -> None:
        response = ended.response
        headers = {name.lower(): value for name, value in response.headers.items()}
        document.check(ended.method, response.url.raw_path, response.status, headers, await response.read())

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(check)
    async with aiohttp.ClientSession(base_url=mesh.url, trace_configs=[trace]) as session:
        yield session


@pytest.fixture
async def api(mesh: Mesh, http: aiohttp.ClientSession) -> Api:
    """The first program's API key: its plan is 200 requests a second with a burst of 400."""
    return Api(http, mesh.env["REWARDS_API_KEY"])


@pytest.fixture
async def operator(mesh: Mesh) -> AsyncIterator[Operator]:
    async with operating(mesh) as one:
        yield one


@pytest.fixture(scope="module")
async def second_url(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The mesh's second door, with a gatekeeper of its own behind it."""
    async with second_door(mesh, tmp_path_factory.mktemp("twin")) as url:
        yield url


@pytest.fixture
async def doors(http: aiohttp.ClientSession, second_url: str) -> AsyncIterator[list[aiohttp.ClientSession]]:
    """Both doors."""
    async with aiohttp.ClientSession(base_url=second_url) as other:
        yield [http, other]


@pytest.fixture(scope="session")
async def tireless_key(mesh: Mesh) -> str:
    """An API key of the second program whose plan no test uses up."""
    async with operating(mesh) as operator:
        plan = credentials_pb2.Plan(
            plan_id=TIRELESS, requests_per_second=100_000, burst=100_000, requests_per_day=100_000_000
        )
        await operator.call("PutPlan", credentials_pb2.PutPlanRequest(plan=plan))
        return await operator.api_key(SECOND, plan_id=TIRELESS)


@pytest.fixture(scope="session")
async def reckless_key(mesh: Mesh, tireless_key: str) -> str:
    """An API key of the same plan for who sends what no client should, in a program of its own: what is merely odd is
    served, and stays."""
    async with operating(mesh) as operator:
        program_id = await operator.program()
        await operator.reward(program_id)
        return await operator.api_key(program_id, plan_id=TIRELESS)


@pytest.fixture
def tireless(http: aiohttp.ClientSession, tireless_key: str) -> Api:
    """Calls with a key of its own, in the second program."""
    return Api(http, tireless_key)


@pytest.fixture(autouse=True)
async def sound_ledger(mesh: Mesh) -> AsyncIterator[None]:
    """After every journey the ledger's auditor finds nothing broken (L1 to L6)."""
    yield
    await mesh.ready()
    assert faults(await findings(mesh.dsn("ledger"))) == []
