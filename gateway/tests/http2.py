"""As much of an HTTP/2 client as it takes to send one JSON request over cleartext and read its answer's body."""

import asyncio
import struct

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW_SIZE = 4
_STREAM = 1
_FRAME_MAX = 16_384


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _literal(text: str) -> bytes:
    raw = text.encode("latin-1")
    # HPACK: a length of seven bits, and what is over it in groups of seven.
    prefix, rest = bytearray([min(len(raw), 127)]), len(raw) - 127
    while rest >= 0:
        prefix.append(rest & 127 | (128 if rest > 127 else 0))
        rest = (rest >> 7) or -1
    return bytes(prefix) + raw


def _header_block(fields: dict[str, str]) -> bytes:
    return b"".join(b"\0" + _literal(name) + _literal(value) for name, value in fields.items())


class _Exchange:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._windows = {0: 65_535, _STREAM: 65_535}
        self.body = b""
        self.ended = False

    async def read_frame(self) -> None:
        """Takes one frame in: counts windows, acknowledges, collects the body."""
        head = await self._reader.readexactly(9)
        size, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
        stream, payload = int.from_bytes(head[5:]), await self._reader.readexactly(size)
        if kind == _SETTINGS and not flags & _ACK:
            for at in range(0, size, 6):
                name, value = struct.unpack(">HI", payload[at : at + 6])
                if name == _INITIAL_WINDOW_SIZE:
                    self._windows[_STREAM] += value - 65_535
            self._writer.write(_frame(_SETTINGS, _ACK, 0))
        elif kind == _PING and not flags & _ACK:
            self._writer.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW_UPDATE:
            self._windows[stream] += int.from_bytes(payload)
        elif kind == _DATA:
            self.body += payload
        if stream == _STREAM and kind in {_DATA, _HEADERS}:
            self.ended = self.ended or bool(flags & _END_STREAM)

    async def send(self, body: bytes) -> None:
        """Sends the body as the windows allow, unless the answer ends before."""
        at = 0
        while at < len(body) and not self.ended:
            room = min(self._windows[0], self._windows[_STREAM], _FRAME_MAX, len(body) - at)
            if room <= 0:
                await self.read_frame()
                continue
            last = at + room == len(body)
            self._writer.write(_frame(_DATA, _END_STREAM if last else 0, _STREAM, body[at : at + room]))
            await self._writer.drain()
            at += room
            for stream in self._windows:
                self._windows[stream] -= room


async def post(address: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The body of the answer to a POST; JSON by its content type, unless `headers` say otherwise."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    pseudo = {":method": "POST", ":scheme": "http", ":path": path, ":authority": address}
    block = _header_block(pseudo | {"content-type": "application/json"} | headers)
    ours = struct.pack(">HI", _INITIAL_WINDOW_SIZE, 1 << 30)
    writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, ours) + _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30)))
    for at in range(0, len(block), _FRAME_MAX):
        kind, flags = (_HEADERS if at == 0 else 9), (_END_HEADERS if at + _FRAME_MAX >= len(block) else 0)
        writer.write(_frame(kind, flags, _STREAM, block[at : at + _FRAME_MAX]))
    exchange = _Exchange(reader, writer)
    await exchange.read_frame()
    await exchange.send(body)
    while not exchange.ended:
        await exchange.read_frame()
    writer.close()
    await writer.wait_closed()
    return exchange.body
