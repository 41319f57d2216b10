"""A described provider over real sockets: what goes out, and what is not taken in. Its faults beside these are those of
the sandbox provider, see `test_sandbox_provider`."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from devmesh.sockets import choose_port
from fulfillment_svc.providers import Issued, NotSent, Order, Pending, Unknown
from fulfillment_svc.providers.mapped.adapter import MappedProvider
from fulfillment_svc.providers.transport import CONTRADICTION, MALFORMED
from fulfillment_svc.tests import mapped
from fulfillment_svc.tests.test_provider_answers import ISSUED, ORDER
from fulfillment_svc.webhooks.ssrf import Guard


@dataclass
class Far:
    """A server that keeps what it gets, and answers with `answer`."""

    url: str
    answer: web.StreamResponse | None = None
    got: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append((request.method, request.path_qs, headers, await request.read()))
        if self.answer is None:
            await asyncio.Event().wait()
        assert self.answer is not None
        return self.answer


async def serving(port: int) -> AsyncIterator[Far]:
    far = Far(f"http://127.0.0.1:{port}")
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", far.take)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield far
    await runner.cleanup()


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    async for one in serving(choose_port()):
        yield one


@pytest.fixture
async def canary() -> AsyncIterator[Far]:
    """A server that nobody may reach."""
    async for one in serving(choose_port()):
        yield one
        assert one.got == []


def adapter(folder: Path, url: str, guard: Guard | None = None, **changes: Any) -> MappedProvider:
    (one,) = mapped.configured(folder, mapped.provider(url, **changes))
    assert one.described is not None
    return MappedProvider(one.described, guard or Guard(allow_loopback=True))


def said(answer: object, status: int = 200, **headers: str) -> web.Response:
    return web.Response(body=json.dumps(answer).encode(), status=status, headers=headers)


async def test_what_goes_out_is_what_the_file_says(far: Far, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    provider = adapter(
        tmp_path,
        far.url,
        secrets={"key": str(tmp_path / "key")},
        headers={"Authorization": "Bearer {secret.key}", "X-Client": "rewards"},
        query={"method": "POST", "url": f"{far.url}/find/{{reference}}", "body": {"of": "{program}"}},
    )
    order = Order("r/1 ä", ORDER.program_id, ORDER.member_id, ORDER.country, ORDER.kind, ORDER.items)
    far.answer = said({**ISSUED, "reference": order.reference})
    assert await provider.order(order) == Issued(("AAAA", "BBBB"))
    far.answer = said({"reference": order.reference, "status": "PENDING"}, 202)
    assert await provider.query(order) == Pending()
    (ordered, asked) = far.got
    assert ordered[:2] == ("POST", "/orders")
    assert json.loads(ordered[3])["items"][1] == {"number": 2, "brand": "Kaffa", "valueMinor": 1000, "currency": "USD"}
    assert (ordered[2]["authorization"], ordered[2]["x-client"]) == ("Bearer s3cret", "rewards")
    assert (ordered[2]["content-type"], ordered[2]["accept-encoding"]) == ("application/json", "identity")
    assert asked[:2] == ("POST", "/find/r%2F1%20%C3%A4")
    assert json.loads(asked[3]) == {"of": "acme"}
    assert "s3cret" not in repr(provider._described)


async def test_a_redirect_is_not_followed(far: Far, canary: Far, tmp_path: Path) -> None:
    for status in (301, 302, 307, 308):
        far.answer = web.Response(status=status, headers={"location": f"{canary.url}/orders"})
        assert await adapter(tmp_path, far.url).order(ORDER) == Unknown(f"HTTP_{status}")


async def test_an_answer_that_is_packed_or_huge_or_of_another_kind_is_malformed(far: Far, tmp_path: Path) -> None:
    provider = adapter(tmp_path, far.url)
    packed = gzip.compress(json.dumps(ISSUED).encode())
    for body, headers in (
        (packed, {"content-encoding": "gzip"}),
        (b"0" * 70_000, {}),
        (json.dumps({**ISSUED, "padding": "x" * 70_000}).encode(), {}),
        (b"<html>", {"content-type": "text/html"}),
        (b"", {}),
    ):
        far.answer = web.Response(body=body, headers=headers)
        assert await provider.order(ORDER) == MALFORMED
    far.answer = said({"reference": "r", "status": "NOT_FOUND"}, 404)
    assert await provider.order(ORDER) == CONTRADICTION, "who is sent an order has seen it"


async def test_an_answer_that_never_ends_or_never_comes_is_unknown(far: Far, tmp_path: Path) -> None:
    provider = adapter(tmp_path, far.url, timeout_s=0.3)
    assert await provider.order(ORDER) == Unknown("TIMEOUT")
    far.answer = web.Response(body=b"{", headers={"content-length": "10"})
    assert isinstance(await provider.order(ORDER), Unknown)
    assert not isinstance(await provider.order(ORDER), NotSent), "it may have gone out"


async def test_a_server_that_hangs_up_after_the_request_may_have_it(tmp_path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        answer = await adapter(tmp_path, f"http://127.0.0.1:{port}").order(ORDER)
    finally:
        server.close()
    assert type(answer) is Unknown
    assert await adapter(tmp_path, f"http://127.0.0.1:{port}").order(ORDER) == NotSent("UNREACHABLE")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "rebound.example"])
async def test_nothing_goes_to_an_address_that_is_not_public(canary: Far, tmp_path: Path, host: str) -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    url = canary.url.replace("127.0.0.1", host)
    guards = [Guard(lookup=lookup), Guard(lookup=lookup, ports={int(canary.url.rpartition(":")[2])})]
    for guard in guards:
        for scheme in ("http", "https"):
            provider = adapter(tmp_path, url.replace("http", scheme, 1), guard)
            assert await provider.order(ORDER) == NotSent("ADDRESS_REFUSED") == await provider.query(ORDER)


async def test_a_certificate_that_nobody_vouches_for_ends_it_before_anything_is_said(
    canary: Far, tmp_path: Path
) -> None:
    provider = adapter(tmp_path, canary.url.replace("http", "https", 1))
    assert await provider.order(ORDER) == NotSent("UNREACHABLE")
