"""Proxies that lose what matters most: the answer to a commit, and the answer to a call."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from devmesh.sockets import LOOPBACK, private_socket_dir

_COMMIT: Final = b"COMMIT"
_QUERY, _PARSE, _COMPLETE = b"Q", b"P", b"C"


class Loss(Enum):
    """When a connection breaks: before the server has the COMMIT, or when it has answered and nobody hears it."""

    COMMIT = 1
    ANSWER = 2


class _Cut(Exception):  # noqa: N818 - what the proxy is for
    """The connection is to break here."""


class _Pipes:
    """Open connections, each two streams, which can be cut all at once."""

    def __init__(self) -> None:
        self._open: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Breaks every connection: who is connected gets no more, and nothing more is passed on."""
        for writer in self._open:
            writer.transport.abort()

    async def _join(self, one: asyncio.StreamWriter, other: asyncio.StreamWriter, *ways: asyncio.Task[None]) -> None:
        """Passes on until one side ends or is cut, and then ends both."""
        self._open |= {one, other}
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for writer in (one, other):
            self._open.discard(writer)
            writer.transport.abort()


class DatabaseProxy(_Pipes):
    """Between a service and PostgreSQL. It reads the protocol as far as it must to know a commit."""

    def __init__(self, upstream: Path, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._upstream = upstream
        self._loss: Loss | None = None
        self._spared = 0
        self.lost = 0

    def lose(self, loss: Loss, spared: int = 0) -> None:
        """Breaks the connection at the next commit, after so many that are let through."""
        self._loss, self._spared = loss, spared

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        server_reader, server_writer = await asyncio.open_unix_connection(str(self._upstream))
        await self._join(
            writer,
            server_writer,
            asyncio.create_task(self._asking(reader, server_writer)),
            asyncio.create_task(self._answering(server_reader, writer)),
        )

    async def _asking(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A connection's first message has no type.
        writer.write(await _message(reader, b""))
        while True:
            kind = await reader.readexactly(1)
            message = await _message(reader, kind)
            if kind in {_QUERY, _PARSE} and _COMMIT in message:
                self._break_for(Loss.COMMIT)
            writer.write(message)
            await writer.drain()

    async def _answering(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            kind = await reader.readexactly(1)
            message = await _message(reader, kind)
            if kind == _COMPLETE and _COMMIT in message:
                self._break_for(Loss.ANSWER)
            writer.write(message)
            await writer.drain()

    def _break_for(self, loss: Loss) -> None:
        if self._loss is not loss:
            return
        if self._spared:
            self._spared -= 1
            return
        self._loss = None
        self.lost += 1
        raise _Cut


async def _message(reader: asyncio.StreamReader, kind: bytes) -> bytes:
    length = await reader.readexactly(4)
    return kind + length + await reader.readexactly(struct.unpack("!I", length)[0] - len(length))


@contextlib.asynccontextmanager
async def database_proxy(url: str) -> AsyncIterator[tuple[DatabaseProxy, str]]:
    """A proxy for the database at `url`, and the address of the same database through it."""
    sockets = parse_qs(urlsplit(url).query)["host"][0]
    name = ".s.PGSQL.5432"
    folder = private_socket_dir()
    proxy = DatabaseProxy(Path(sockets) / name, folder)
    server = await asyncio.start_unix_server(proxy.serve, str(folder / name))
    try:
        yield proxy, url.replace(sockets, str(folder))
    finally:
        server.close()
        proxy.cut()
        (folder / name).unlink(missing_ok=True)
        folder.rmdir()


class CallerProxy(_Pipes):
    """Between a caller and a service. It passes bytes on and, where it is told to, answers no more."""

    def __init__(self, upstream: str) -> None:
        super().__init__()
        self._host, _, port = upstream.partition(":")
        self._port = int(port)
        self._passing = asyncio.Event()
        self._passing.set()

    def swallow(self) -> None:
        """From now on no answer comes back, until `pass_on`."""
        self._passing.clear()

    def pass_on(self) -> None:
        """Answers come back again."""
        self._passing.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        always = asyncio.Event()
        always.set()
        await self._join(
            writer,
            server_writer,
            asyncio.create_task(_pass(reader, server_writer, always)),
            asyncio.create_task(_pass(server_reader, writer, self._passing)),
        )


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event) -> None:
    while read := await reader.read(65_536):
        await passing.wait()
        writer.write(read)
        await writer.drain()


@contextlib.asynccontextmanager
async def caller_proxy(address: str) -> AsyncIterator[tuple[CallerProxy, str]]:
    """A proxy for the service at `address`, and its own address."""
    proxy = CallerProxy(address)
    server = await asyncio.start_server(proxy.serve, LOOPBACK, 0)
    try:
        yield proxy, f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        proxy.cut()
