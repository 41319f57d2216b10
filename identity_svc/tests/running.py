"""identity_svc behind its real server, interceptors and mTLS, with small recording neighbours."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from envoy_min import authz_pb2
from envoy_min.authz_pb2_grpc import AuthorizationStub
from google.protobuf.message import Message
from grpc_status import rpc_status
from rewards.fulfillment.v1 import messages_pb2, messages_pb2_grpc, webhooks_pb2, webhooks_pb2_grpc
from rewards.identity.v1 import credentials_pb2, programs_pb2, programs_pb2_grpc
from rewards.identity.v1.credentials_pb2_grpc import CredentialsServiceStub
from rewards.identity.v1.members_pb2_grpc import MembersServiceStub
from rewards.identity.v1.merges_pb2_grpc import MergesServiceStub
from rewards.identity.v1.privacy_pb2_grpc import PrivacyServiceStub
from rewards.identity.v1.programs_pb2_grpc import ProgramsServiceStub
from rewards.identity.v1.signin_pb2_grpc import SignInServiceStub
from rewards.identity.v1.tokens_pb2_grpc import TokenServiceStub
from rewards.ledger.v1 import directory_pb2, directory_pb2_grpc

from devmesh.pki import Authority
from identity_svc.pepper import Pepper
from identity_svc.service import PROGRAM_KEEPERS, Service, Settings, Time
from svckit import server
from svckit.call import Kind, Principal
from svckit.clients import open_channel
from svckit.config import Config
from svckit.db import Database
from svckit.errors import Reason, Refused, from_status
from svckit.testing import headers, partner, serving

PEPPER = Pepper(b"a pepper of tests, 32 bytes long.")
# Limits are then of this process; what processes share is another test's matter.
NOWHERE = "unix:///nowhere/redis.sock"
SETTINGS = Settings(
    pepper=PEPPER, fingerprint_key=b"fingerprints", public_url="https://api.example.test", redis_url=NOWHERE
)
OPERATOR = Principal(Kind.OPERATOR, "rk_op_test")
PROGRAM = programs_pb2.Program(
    program_id="acme",
    name="Acme Points",
    mode=programs_pb2.Program.SANDBOX,
    time_zone="Europe/Berlin",
    currency="USD",
    asset="PTS",
    points_per_unit=80,
)
PLAN = credentials_pb2.Plan(plan_id="standard", requests_per_second=200, burst=400, requests_per_day=1_000_000)
WRITER = partner("acme", "members:write", "members:read")


class Neighbour(
    programs_pb2_grpc.ProgramDirectoryServiceServicer,
    directory_pb2_grpc.MemberDirectoryServiceServicer,
    webhooks_pb2_grpc.EventsServiceServicer,
    messages_pb2_grpc.MessagesServiceServicer,
):
    """A service that writes down what it is told; while `down` it refuses, while `mute` its answers are lost."""

    def __init__(self) -> None:
        self.programs: list[programs_pb2.Program] = []
        self.members: list[tuple[str, str, bool, int]] = []
        self.aliases: dict[str, tuple[str, int]] = {}
        self.events: list[webhooks_pb2.Event] = []
        self.codes: list[messages_pb2.SendCodeRequest] = []
        self.down = False
        self.mute = False

    def _listen(self) -> None:
        if self.down:
            raise Refused(Reason.UNAVAILABLE, "down")

    async def StoreProgram(
        self, request: programs_pb2.StoreProgramRequest, context: Any
    ) -> programs_pb2.StoreProgramResponse:
        self._listen()
        self.programs.append(request.program)
        return programs_pb2.StoreProgramResponse()

    async def StoreMember(
        self, request: directory_pb2.StoreMemberRequest, context: Any
    ) -> directory_pb2.StoreMemberResponse:
        self._listen()
        self.members.append((request.program_id, request.member_id, request.active, request.version))
        if request.version >= self.aliases.get(request.member_id, ("", 0))[1]:
            self.aliases[request.member_id] = (request.alias_of, request.version)
        if self.mute:
            raise Refused(Reason.UNAVAILABLE, "mute")
        return directory_pb2.StoreMemberResponse()

    async def SendCode(self, request: messages_pb2.SendCodeRequest, context: Any) -> messages_pb2.SendCodeResponse:
        self._listen()
        self.codes.append(request)
        return messages_pb2.SendCodeResponse()

    async def PublishEvents(
        self, request: webhooks_pb2.PublishEventsRequest, context: Any
    ) -> webhooks_pb2.PublishEventsResponse:
        self._listen()
        self.events.extend(request.events)
        return webhooks_pb2.PublishEventsResponse()


@dataclass
class Clocks:
    """The real time as the service sees it, and the time that ages its caches."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    monotonic_s: float = 1_000.0

    def read(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.monotonic_s

    async def pause(self, seconds: float) -> None:
        self.pass_s(seconds)

    def time(self) -> Time:
        return Time(clock=self.read, monotonic=self.monotonic, pause=self.pause)

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.monotonic_s += seconds


@dataclass
class Running:
    """The service with what a test may look at and turn."""

    url: str
    db: Database
    gate_db: Database
    service: Service
    gateway: grpc.aio.Channel
    address: str
    neighbours: dict[str, Neighbour]
    clocks: Clocks

    @property
    def ledger(self) -> Neighbour:
        return self.neighbours["ledger_svc"]

    async def call(
        self, stub: Callable[[grpc.aio.Channel], Any], name: str, request: Message, caller: Principal, key: str = ""
    ) -> Any:
        """Calls an RPC as the gateway passes on a caller's request, under a key of its own if none is given."""
        rpc = getattr(stub(self.gateway), name)
        return await rpc(request, metadata=headers(caller, key or secrets.token_hex(8)))

    async def operate(self, name: str, request: Message, key: str = "") -> Any:
        """Calls an RPC of ProgramsService or CredentialsService as an operator."""
        stub = ProgramsServiceStub if name in {"PutProgram", "BrandProgram"} else CredentialsServiceStub
        return await self.call(stub, name, request, OPERATOR, key)

    async def member(self, name: str, request: Message, key: str = "", caller: Principal = WRITER) -> Any:
        """Calls an RPC about a member."""
        stubs = (MembersServiceStub, MergesServiceStub, PrivacyServiceStub, SignInServiceStub)
        stub = next(one for one in stubs if hasattr(one(self.gateway), name))
        return await self.call(stub, name, request, caller, key)

    def tokens(self) -> Any:
        return TokenServiceStub(self.gateway)

    async def check(self, path: str, sent: dict[str, str], gateway: grpc.aio.Channel | None = None) -> Any:
        """Envoy's question about a request with these headers."""
        request = authz_pb2.CheckRequest()
        http = request.attributes.request.http
        http.path = path
        http.headers.update(sent)
        return await AuthorizationStub(gateway or self.gateway).Check(request)

    async def seed(self) -> None:
        """A program and a plan."""
        await self.operate("PutProgram", programs_pb2.PutProgramRequest(program=PROGRAM))
        await self.operate("PutPlan", credentials_pb2.PutPlanRequest(plan=PLAN))

    async def client(self, *scopes: str, partner_id: str = "") -> credentials_pb2.CreateClientResponse:
        request = credentials_pb2.CreateClientRequest(
            program_id="acme", name="checkout", scopes=scopes, plan_id="standard", partner_id=partner_id
        )
        answer: credentials_pb2.CreateClientResponse = await self.operate("CreateClient", request)
        return answer

    async def api_key(
        self, *scopes: str, expires_at: datetime | None = None, partner_id: str = ""
    ) -> credentials_pb2.CreateApiKeyResponse:
        request = credentials_pb2.CreateApiKeyRequest(
            program_id="acme", name="analytics", scopes=scopes, plan_id="standard", partner_id=partner_id
        )
        if expires_at is not None:
            request.expires_at.FromDatetime(expires_at)
        answer: credentials_pb2.CreateApiKeyResponse = await self.operate("CreateApiKey", request)
        return answer


@asynccontextmanager
async def running(url: str, authority: Authority, clocks: Clocks, time: Time | None = None) -> AsyncIterator[Running]:
    """The service on the database at `url`, by the time of `clocks` if none other is given."""
    db, gate_db = Database(url), Database(url, pool_size=2)
    neighbours = {name: Neighbour() for name in PROGRAM_KEEPERS}
    ours = authority.issue("identity_svc")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(db.close)
        stack.push_async_callback(gate_db.close)
        channels = {}
        for name, neighbour in neighbours.items():
            address = await stack.enter_async_context(serving(authority.issue(name), [neighbour]))
            channels[name] = await stack.enter_async_context(open_channel(address, name, ours))
        service = Service(db, gate_db, SETTINGS, channels, time or clocks.time())
        built, _, port = server.build(Config(listen="127.0.0.1:0", tls_dir=ours), service.servicers)
        await built.start()
        stack.push_async_callback(service.limiter.close)
        stack.push_async_callback(built.stop, 0)
        address = f"127.0.0.1:{port}"
        gateway = await stack.enter_async_context(open_channel(address, "identity_svc", authority.issue("gateway")))
        yield Running(url, db, gate_db, service, gateway, address, neighbours, clocks)


async def refusal(call: Awaitable[object]) -> Refused:
    """The refusal that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    assert status is not None, caught.value
    return from_status(status)


async def reason(call: Awaitable[object]) -> str:
    """The name of the reason that a call is refused for."""
    return Reason.Name((await refusal(call)).reason)


async def outcomes(*calls: Awaitable[object]) -> list[object]:
    """What calls that run at once end with: answers, and names of reasons."""

    async def outcome(call: Awaitable[object]) -> object:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            status = rpc_status.from_call(error)  # type: ignore[arg-type]
            if status is None:
                raise
            return Reason.Name(from_status(status).reason)

    return list(await asyncio.gather(*(outcome(call) for call in calls)))


def worker(service: Service, name: str) -> Callable[[], Awaitable[int]]:
    """The step of a worker."""
    return next(one._step for one in service.workers if one.name == name)
