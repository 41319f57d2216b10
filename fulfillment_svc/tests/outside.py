"""What stands outside the service in its tests, as real processes: the sandbox provider and a mailbox."""

import asyncio
import base64
import functools
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from aiohttp import web
from google.api.httpbody_pb2 import HttpBody
from grpc_status import rpc_status
from rewards.fulfillment.v1 import providers_pb2

from devmesh import mailbox
from devmesh.layout import ROOT
from devmesh.process import Child, Command, Part, until_ready
from devmesh.readiness import accepts_connections
from devmesh.sockets import choose_port
from svckit.call import Kind, Principal
from svckit.errors import Reason, from_status
from svckit.testing import headers

_DEADLINE_S = 30.0


async def eventually(holds: Callable[[], bool]) -> None:
    """Waits until the condition holds; an assertion fails if it never does."""
    deadline_s = time.monotonic() + _DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline_s, "this never came true"
        await asyncio.sleep(0.01)


class Process:
    """A server of this package as a process of its own, which can be killed and started again."""

    def __init__(self, folder: Path, name: str, module: list[str], env: dict[str, str], port: int) -> None:
        self.folder = folder
        self.port = port
        argv = [sys.executable, "-m", *module]
        self._command = Command(name=name, argv=argv, log=folder / f"{name}.log", env=env, cwd=ROOT)
        self._child: Child | None = None

    async def start(self, **env: str) -> None:
        """Starts it, unless it runs, and waits until it serves; `env` is for this time only."""
        if self._child is None:
            command = replace(self._command, env={**self._command.env, **env})
            self._child = Child(command)
            ready = functools.partial(accepts_connections, self.port)
            await until_ready(self._child, Part(command=command, ready=ready))

    def tell(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        assert self._child is not None
        self._child.send(number)

    async def exited(self) -> int:
        """Waits until it has ended by itself; its exit code, negative for a signal."""
        assert self._child is not None
        code = await self._child.exited()
        self._child = None
        return code

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends it, if it runs."""
        if self._child is not None:
            await self._child.stop(number)
            self._child = None


class Door:
    """Takes the provider's callbacks in, as the gateway does, and hands them on to `stub`; without one, nobody is
    there. They come by each of `names`, by which the service knows the provider. `answers` has what became of each."""

    def __init__(self) -> None:
        self.port = choose_port()
        self.secret = base64.b64encode(secrets.token_bytes(32)).decode()
        self.stub: Any = None
        self.names = ["sandbox"]
        self.answers: list[str] = []

    async def open(self) -> None:
        """Serves from now on."""
        application = web.Application()
        application.router.add_post("/callbacks", self._take)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def close(self) -> None:
        """Ends it."""
        await self._runner.cleanup()

    async def send(self, provider: str, data: bytes, sent: Mapping[str, str]) -> str:
        """What the service answers to a callback: "OK", or a reason."""
        names = "webhook-id", "webhook-timestamp", "webhook-signature"
        metadata = [*headers(Principal(Kind.PUBLIC)), *((name, sent[name]) for name in names if name in sent)]
        payload = HttpBody(content_type="application/json", data=data)
        request = providers_pb2.ReceiveCallbackRequest(provider=provider, payload=payload)
        try:
            await self.stub.ReceiveCallback(request, metadata=tuple(metadata))
        except grpc.aio.AioRpcError as error:
            status = rpc_status.from_call(error)  # type: ignore[arg-type]
            return error.code().name if status is None else Reason.Name(from_status(status).reason)
        return "OK"

    async def _take(self, request: web.Request) -> web.Response:
        if self.stub is None:
            return web.Response(status=404)
        body = await request.read()
        answers = [await self.send(name, body, request.headers) for name in self.names]
        self.answers += answers
        answer = next((one for one in answers if one != "OK"), "OK")
        return web.Response(status={"OK": 200, "UNAUTHENTICATED": 401, "INVALID_REQUEST": 400}.get(answer, 503))


class SandboxProvider(Process):
    """The sandbox provider, its faults and its journal. It calls back at `door`."""

    def __init__(self, folder: Path) -> None:
        port = choose_port()
        self.door = Door()
        key = folder / "provider_secret"
        key.write_text(self.door.secret)
        env = {
            "REWARDS_LISTEN": f"127.0.0.1:{port}",
            "REWARDS_JOURNAL": str(folder / "journal.jsonl"),
            "REWARDS_CALLBACK_URL": f"http://127.0.0.1:{self.door.port}/callbacks",
            "REWARDS_PROVIDER_SECRET_FILE": str(key),
        }
        self.secret_file = str(key)
        super().__init__(folder, "provider", ["fulfillment_svc.providers.sandbox"], env, port)
        self.url = f"http://127.0.0.1:{port}"

    async def fault(self, fault: str, **orders: Any) -> None:
        """Switches a fault on, by default for the next order."""
        status = await self.ask("PUT", "/faults", json={"fault": fault, **(orders or {"next": 1})})
        assert status == 200

    async def order(self, reference: str, brand: str) -> None:
        """Orders one item of 10 dollars past the service, as if its own order had been late."""
        item = {"number": 1, "brand": brand, "valueMinor": 1000, "currency": "USD"}
        assert await self.ask("POST", "/orders", json={"reference": reference, "items": [item]}) == 200

    async def clear(self) -> None:
        """Switches all faults off."""
        assert await self.ask("DELETE", "/faults") == 200

    async def ask(self, method: str, path: str, **what: Any) -> int:
        """The status of an answer."""
        async with aiohttp.request(method, f"{self.url}{path}", **what) as response:
            return response.status

    async def has_called(self) -> bool:
        """True if no callback is under way any more."""
        async with aiohttp.request("GET", f"{self.url}/callbacks") as response:
            under_way: int = (await response.json())["underWay"]
        return under_way == 0

    async def journal(self, reference: str = "") -> list[dict[str, Any]]:
        """What it has decided and what came again, of one order or of all."""
        async with aiohttp.request("GET", f"{self.url}/journal") as response:
            entries: list[dict[str, Any]] = (await response.json())["entries"]
        return [entry for entry in entries if reference in ("", entry["reference"])]


class Mailbox(Process):
    """A mailbox that takes mail for every address."""

    def __init__(self, folder: Path) -> None:
        port = choose_port()
        arguments = ["--port", str(port), "--folder", str(folder / "mail")]
        super().__init__(folder, "mailbox", ["devmesh.mailbox", *arguments], {}, port)

    def mails(self, to: str) -> list[Any]:
        """What an address has got, oldest first."""
        return mailbox.messages(self.folder / "mail", to)
