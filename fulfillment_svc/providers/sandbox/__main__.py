"""`python -m fulfillment_svc.providers.sandbox`: serves on REWARDS_LISTEN with its journal in REWARDS_JOURNAL. With
REWARDS_CALLBACK_URL it calls back there, signed with the first secret of REWARDS_PROVIDER_SECRET_FILE."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from fulfillment_svc.providers.sandbox.callbacks import Callbacks
from fulfillment_svc.providers.sandbox.journal import Journal
from fulfillment_svc.providers.sandbox.server import Sandbox
from svckit.config import required, secret


async def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    host, _, port = required("REWARDS_LISTEN").rpartition(":")
    if host not in ("127.0.0.1", "localhost", "[::1]"):
        raise SystemExit("REWARDS_LISTEN must be a loopback address: the sandbox provider asks nobody who they are")
    journal = Journal(Path(required("REWARDS_JOURNAL")))
    async with AsyncExitStack() as stack:
        callbacks = None
        if url := os.environ.get("REWARDS_CALLBACK_URL"):
            current, *_ = secret("REWARDS_PROVIDER_SECRET_FILE").decode().split()
            callbacks = await stack.enter_async_context(Callbacks(url, current))
        application = Sandbox(journal, callbacks).application()
        # A caller that hung up must end its handler, or the answers that never come would pile up.
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        await stopping.wait()


if __name__ == "__main__":
    asyncio.run(main())
