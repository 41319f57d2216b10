"""The ledger as a process of its own, to be killed and started again under the same address."""

import functools
import os
import signal
import sys
from pathlib import Path
from typing import Any

from devmesh.process import Child, Command, Part, run_once, until_ready
from devmesh.readiness import reports_serving
from devmesh.sockets import LOOPBACK, choose_port

ROOT = Path(__file__).parents[2]


class ServiceProcess:
    """`python -m ledger_svc` on the database at `url`, with its files in `folder`."""

    def __init__(self, url: str, authority: Any, folder: Path) -> None:
        port = choose_port()
        self.address = f"{LOOPBACK}:{port}"
        key = folder / "fingerprint_key"
        key.write_bytes(b"k")
        self._env = {
            "PATH": os.environ["PATH"],
            "REWARDS_DATABASE_URL": url,
            "REWARDS_LISTEN": self.address,
            "REWARDS_TLS_DIR": str(authority.issue("ledger_svc")),
            # Nobody is there: what the outbox holds back is none of these tests' business.
            "REWARDS_PEERS": f"fulfillment_svc={LOOPBACK}:1",
            "REWARDS_FINGERPRINT_KEY_FILE": str(key),
        }
        self._log = folder / "ledger_svc.log"
        ready = functools.partial(reports_serving, port, "ledger_svc", authority.issue("devmesh"))
        self._part = Part(command=self._command(), ready=ready)
        self._child: Child | None = None

    async def start(self) -> None:
        """Starts it and returns when it serves."""
        self._child = Child(self._part.command)
        await until_ready(self._child, self._part)

    async def kill(self) -> None:
        """kill -9; returns when it is gone."""
        if self._child is not None:
            self._child.send(signal.SIGKILL)
            await self._child.exited()

    async def verify(self) -> str:
        """What `python -m ledger_svc verify` says. Raises ProcessFailedError unless it finds the ledger sound."""
        return await run_once(self._command("verify"))

    def _command(self, *arguments: str) -> Command:
        argv = [sys.executable, "-m", "ledger_svc", *arguments]
        return Command(name="ledger_svc", argv=argv, log=self._log, env=self._env, cwd=ROOT)
