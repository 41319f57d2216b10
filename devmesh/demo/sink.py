"""A partner's webhook endpoint: takes deliveries in and checks their signatures with a library of its own."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from devmesh.sockets import LOOPBACK


class Sink:
    """What has been delivered. `secret` is what the registration answered; unsigned deliveries are refused."""

    def __init__(self) -> None:
        self.url = ""
        self.secret = ""
        self.events: list[dict[str, Any]] = []
        self._came = asyncio.Condition()

    async def wait_until(self, condition: Callable[[list[dict[str, Any]]], bool], within_s: float = 15.0) -> bool:
        """Whether what has been delivered satisfies the condition in time."""
        try:
            async with asyncio.timeout(within_s), self._came:
                await self._came.wait_for(lambda: condition(self.events))
        except TimeoutError:
            return False
        return True

    async def take(self, request: web.Request) -> web.Response:
        """One delivery."""
        body = await request.read()
        try:
            Webhook(self.secret).verify(body, dict(request.headers))
        except WebhookVerificationError:
            return web.Response(status=401)
        async with self._came:
            self.events.append(json.loads(body))
            self._came.notify_all()
        return web.Response(status=204)


@asynccontextmanager
async def listening() -> AsyncIterator[Sink]:
    """A sink on a free port of the loopback."""
    sink = Sink()
    app = web.Application()
    app.router.add_post("/hooks", sink.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, 0)
    await site.start()
    port = runner.addresses[0][1]
    sink.url = f"http://{LOOPBACK}:{port}/hooks"
    try:
        yield sink
    finally:
        await runner.cleanup()
