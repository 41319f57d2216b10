"""What refusals are provoked on: a program of its own, whose clock can be moved on, and its credentials."""

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import grpc
from google.protobuf.message import Message
from rewards.identity.v1 import credentials_pb2, credentials_pb2_grpc, programs_pb2, programs_pb2_grpc
from rewards.ledger.v1 import earning_pb2, earning_pb2_grpc

from devmesh.demo.partner import Answer
from devmesh.mesh import Mesh
from devmesh.seed import SCOPES
from svckit.clock import new_id
from tests.mesh.conftest import Api

PROGRAM: Final = "sandbox-refusals"
_RICH: Final = credentials_pb2.Plan(
    plan_id="rich", requests_per_second=100_000, burst=100_000, requests_per_day=100_000_000
)
_POOR: Final = credentials_pb2.Plan(plan_id="poor", requests_per_second=1, burst=1, requests_per_day=100_000_000)
_MODEST: Final = credentials_pb2.Plan(plan_id="modest", requests_per_second=100_000, burst=100_000, requests_per_day=1)
_HOUR_S: Final = 3_600
EVERY: Final = ""


@dataclass(kw_only=True)
class Cast:
    """The program's credentials: one that may do everything, one that may call once a second and one that may call once
    a day, one that may call none of the named operations; a client with a token whose time has passed, and one that is
    rotated."""

    all_powerful: str
    poor: str
    modest: str
    powerless: str
    client: credentials_pb2.CreateClientResponse
    rotated_client_id: str
    expired_token: str = ""
    clock_offset_s: int = 0


class Operator:
    """Sets the stage, by the mesh's own door."""

    def __init__(self, mesh: Mesh, channel: grpc.aio.Channel) -> None:
        self._bearer = mesh.env["REWARDS_ADMIN_TOKEN"]
        self._credentials = credentials_pb2_grpc.CredentialsServiceStub(channel)
        self._programs = programs_pb2_grpc.ProgramsServiceStub(channel)
        self._rules = earning_pb2_grpc.EarningRulesServiceStub(channel)

    async def found(self) -> Cast:
        """The program, with a rule of one point a unit of currency."""
        for plan in (_RICH, _POOR, _MODEST):
            await self._call(self._credentials.PutPlan, credentials_pb2.PutPlanRequest(plan=plan))
        await self.set_clock(0)
        rule = earning_pb2.EarningRule(rule_id="base", version=1, points_numerator=1, points_denominator=1)
        await self._call(self._rules.PutRule, earning_pb2.PutRuleRequest(program_id=PROGRAM, rule=rule))
        named: dict[str, Any] = {"program_id": PROGRAM, "name": "x", "scopes": SCOPES, "plan_id": _RICH.plan_id}
        wanted_client = credentials_pb2.CreateClientRequest(**named)
        client, rotated = [await self._call(self._credentials.CreateClient, wanted_client) for _ in range(2)]
        return Cast(
            all_powerful=await self._api_key(named),
            poor=await self._api_key(named | {"plan_id": _POOR.plan_id}),
            modest=await self._api_key(named | {"plan_id": _MODEST.plan_id}),
            powerless=await self._api_key(named | {"scopes": ["catalog:read"]}),
            client=client,
            rotated_client_id=rotated.client_id,
        )

    async def set_clock(self, offset_s: int) -> None:
        """Moves the program's clock so far ahead of the real one."""
        program = programs_pb2.Program(
            program_id=PROGRAM,
            name="Refusals",
            mode=programs_pb2.Program.SANDBOX,
            time_zone="Europe/Berlin",
            currency="USD",
            asset="PTS",
            points_per_unit=80,
            clock_offset_s=offset_s,
        )
        await self._call(self._programs.PutProgram, programs_pb2.PutProgramRequest(program=program))

    async def _api_key(self, named: dict[str, Any]) -> str:
        made = await self._call(self._credentials.CreateApiKey, credentials_pb2.CreateApiKeyRequest(**named))
        return str(made.api_key)

    async def _call(self, rpc: Callable[..., Awaitable[Any]], request: Message) -> Any:
        headers = (("authorization", f"Bearer {self._bearer}"), ("idempotency-key", str(new_id())))
        return await rpc(request, timeout=10, metadata=headers)


@dataclass
class Stage:
    """What a case has at hand. `api` may do everything in a program that nobody else uses."""

    mesh: Mesh
    cast: Cast
    http: aiohttp.ClientSession

    @property
    def api(self) -> Api:
        return Api(self.http, self.cast.all_powerful)

    @property
    def proof(self) -> dict[str, str]:
        """The client's request of a token."""
        client = self.cast.client
        named = {"client_id": client.client_id, "client_secret": client.client_secret}
        return {"grant_type": "client_credentials", **named}

    @contextmanager
    def away(self, part: str | None) -> Iterator[None]:
        """A part of the mesh that answers nothing, for as long as this lasts."""
        if part is None:
            yield
            return
        self.mesh.kill(part, signal.SIGSTOP)
        try:
            yield
        finally:
            self.mesh.kill(part, signal.SIGCONT)

    async def send(self, operation: str, **more: Any) -> Answer:
        """A call as it is, without a credential or a key but what `more` has, which is as aiohttp takes it."""
        path = operation if operation.startswith("/") else f"/v1/{operation}"
        async with self.http.post(path, **more) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, headers, await response.json())

    async def pass_an_hour(self) -> None:
        """Moves the program's clock on."""
        self.cast.clock_offset_s += _HOUR_S
        async with grpc.aio.insecure_channel(self.mesh.env["REWARDS_GRPC"]) as channel:
            await Operator(self.mesh, channel).set_clock(self.cast.clock_offset_s)

    async def must(self, operation: str, body: dict[str, Any], **more: Any) -> dict[str, Any]:
        """What a call gives that has to succeed, as a case's preparation."""
        done = await self.api.post(operation, body, **more)
        assert done.code == 0, (operation, done)
        return done.result


Case = Callable[[Stage, str], Awaitable[Answer]]


class Cases(dict[tuple[str, str], Case]):
    """How refusals are provoked, by operation and reason: a case makes the operation that it is given refuse so."""

    def provokes(self, reason: str, *operations: str) -> Callable[[Case], Case]:
        """Files a case for operations; without one, for all that have no case of their own for the reason."""

        def file(case: Case) -> Case:
            self.update({(operation, reason): case for operation in operations or (EVERY,)})
            return case

        return file
