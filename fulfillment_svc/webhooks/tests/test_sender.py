"""One attempt against real servers: what is signed, what counts as an answer, and how long it may take."""

import asyncio
import base64
import hashlib
import hmac
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from devmesh.pki import Authority
from fulfillment_svc.webhooks.rules import Answer
from fulfillment_svc.webhooks.sealer import new_secret
from fulfillment_svc.webhooks.sender import Message, Sender, retry_after
from fulfillment_svc.webhooks.ssrf import Guard, Target
from fulfillment_svc.webhooks.tests.conftest import Sink, listening

MESSAGE = Message("0190f3a0-0000-7000-8000-000000000001", '{"name":"Zoë","points":10}'.encode())
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def _target(url: str) -> Target:
    async def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    return await Guard(allow_loopback=True, lookup=lookup).admit(url, sandbox=True)


async def _post(sink: Sink, sender: Sender | None = None, secret: str | None = None) -> Answer:
    return await (sender or Sender()).post(await _target(sink.url), MESSAGE, secret or new_secret())


async def test_a_third_party_verifies_what_is_sent_and_refuses_what_was_touched(sink: Sink) -> None:
    secret = new_secret()
    assert await _post(sink, secret=secret) == Answer(204)
    (received,) = sink.received
    assert received.body == MESSAGE.payload
    assert received.headers["content-type"] == "application/json"
    assert Webhook(secret).verify(received.body, received.headers) == {"name": "Zoë", "points": 10}
    for body, headers, key in (
        (received.body + b" ", received.headers, secret),
        (received.body, received.headers | {"webhook-id": "another"}, secret),
        (received.body, received.headers | {"webhook-timestamp": "1"}, secret),
        (received.body, received.headers, new_secret()),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(key).verify(body, headers)


async def test_the_signature_is_the_standards_by_the_letter(sink: Sink) -> None:
    secret = new_secret()
    await _post(sink, secret=secret)
    (received,) = sink.received
    stamp = received.headers["webhook-timestamp"]
    signed = f"{MESSAGE.message_id}.{stamp}.".encode() + received.body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert received.headers["webhook-id"] == MESSAGE.message_id
    assert received.headers["webhook-signature"] == f"v1,{digest}"


@pytest.mark.parametrize("status", [200, 299, 302, 404, 410, 500, 503])
async def test_the_status_is_the_answer(sink: Sink, status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    sink.respond = answer
    assert await _post(sink) == Answer(status)


async def test_a_retry_after_is_passed_on(sink: Sink) -> None:
    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"retry-after": "120"})

    sink.respond = busy
    assert await _post(sink) == Answer(429, timedelta(seconds=120))


async def test_a_body_that_never_ends_does_not_keep_the_attempt(sink: Sink) -> None:
    sent, gone = 0, asyncio.Event()

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65_536)
                sent += 65_536
        except ConnectionError:
            gone.set()
        return response

    sink.respond = flood
    assert await _post(sink) == Answer(200)
    async with asyncio.timeout(20):
        await gone.wait()


async def test_a_body_that_trickles_does_not_either(sink: Sink) -> None:
    gone = asyncio.Event()

    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x")
                await asyncio.sleep(0.01)
        except ConnectionError:
            gone.set()
        return response

    sink.respond = trickle
    assert await _post(sink) == Answer(200)
    async with asyncio.timeout(20):
        await gone.wait()


async def test_a_server_that_does_not_answer_in_time_has_not_answered(sink: Sink) -> None:
    released = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    sink.respond = silent
    assert await _post(sink, Sender(total_s=0.2)) == Answer()
    released.set()


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
        b"HTTP/1.1 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
    ],
)
async def test_a_server_that_speaks_no_http_has_not_answered(reply: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await _post(Sink(port)) == Answer()


async def test_nobody_there_is_no_answer() -> None:
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
    assert await _post(Sink(port)) == Answer()


async def test_tls_checks_the_urls_name_at_the_checked_address(authority: Authority) -> None:
    folder, asked = authority.issue("ledger_svc"), []
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    serving.sni_callback = lambda _, name, __: asked.append(name)
    sender = Sender(ssl.create_default_context(cafile=str(folder / "ca.crt")))
    async with listening(Sink(), serving) as sink:
        named = await _target(f"https://ledger-svc:{sink.port}/hook")
        assert await sender.post(named, MESSAGE, new_secret()) == Answer(204)
        assert sink.received[0].headers["host"] == f"ledger-svc:{sink.port}"
        other = await _target(f"https://identity-svc:{sink.port}/hook")
        assert await sender.post(other, MESSAGE, new_secret()) == Answer()
        # Nor is an authority believed that the sender was not told of.
        assert await Sender().post(named, MESSAGE, new_secret()) == Answer()
        assert len(sink.received) == 1
    assert asked == ["ledger-svc", "identity-svc", "ledger-svc"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("120", timedelta(seconds=120)),
        ("0", timedelta(0)),
        (format_datetime(NOW + timedelta(minutes=5), usegmt=True), timedelta(minutes=5)),
        ("9" * 400, timedelta(seconds=10**9)),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
        ("١٢", None),
    ],
)
def test_how_long_a_retry_after_asks_to_wait(header: str, expected: timedelta | None) -> None:
    assert retry_after(header, NOW) == expected


@given(st.text())
def test_no_retry_after_is_a_fault(header: str) -> None:
    retry_after(header, NOW)
