"""Where webhooks must never go: nasty URLs, nasty names, and canaries that count who connects (G55)."""

from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from fulfillment_svc.webhooks.rules import Answer
from fulfillment_svc.webhooks.sealer import new_secret
from fulfillment_svc.webhooks.sender import Message, Sender
from fulfillment_svc.webhooks.ssrf import Guard, is_loopback, is_public, read, refused, system_lookup
from fulfillment_svc.webhooks.tests.conftest import Canary, Sink
from svckit.errors import Reason, Refused

PUBLIC = "93.184.216.34"
NAMES = {
    "public.example": [PUBLIC],
    "localhost": ["127.0.0.1", "::1"],
    "127.0.0.1.nip.io": ["127.0.0.1"],
    "mixed.example": [PUBLIC, "::1"],
    "mixed4.example": [PUBLIC, "127.0.0.1"],
    "six.example": ["::1"],
    "unspecified.example": ["0.0.0.0"],  # noqa: S104 - an address that must not be connected to
    "metadata.example": ["169.254.169.254"],
    "intranet.example": ["10.0.0.1"],
    "carrier.example": ["100.64.0.1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "teredo.example": ["2001::1"],
    "sixtofour.example": ["2002:7f00:1::1"],
    "local6.example": ["fc00::1"],
    "link6.example": ["fe80::1%lo"],
    "nothing.example": [],
    "garbage.example": ["not an address"],
    "xn--bcher-kva.example": [PUBLIC],
}
# `{port}` is where the canaries listen, on an address of their own each.
NASTY = (Path(__file__).parent / "nasty_urls.txt").read_text().split()
INVISIBLE = [
    " https://127.0.0.1:{port}/",
    "https://127.0.0.1:{port}/ ",
    "\thttps://127.0.0.1:{port}/",
    "https://127.0\n.0.1:{port}/",
    "https://127.0.0.1\r\nHost: evil:{port}/",
    "https://public.example/\r\nX-Injected: 1",
    "https://public.example/a b",
    "https://public.example\u3000@127.0.0.1:{port}/",
    "https://127.0.0.1\x00.public.example:{port}/",
    "https://loca\u00adlhost:{port}/",
    "https://local\u200bhost:{port}/",
    "",
    "https://" + "a" * 64 + ".example/",
    "https://" + "a." * 127 + "example/",
]


async def _lookup(host: str, port: int) -> list[str]:
    """Names as above. What the system reads as an address without asking anybody, it may read."""
    if host in NAMES:
        return NAMES[host]
    if host.replace(".", "").isalnum() and host[0].isdigit():
        return await system_lookup(host, port)
    raise OSError("no such name")


def _fill(url: str, canary: Canary) -> str:
    return url.replace("{port}", str(canary.port))


async def _attempt(guard: Guard, url: str, *, sandbox: bool) -> Answer | Refused:
    try:
        target = await guard.admit(url, sandbox=sandbox)
    except Refused as refusal:
        return refusal
    return await Sender(total_s=2).post(target, Message("id", b"{}"), new_secret())


def test_there_are_enough_of_them() -> None:
    assert len({*NASTY, *INVISIBLE}) > 120


@pytest.mark.parametrize("loopback", [False, True])
async def test_no_nasty_url_is_admitted_and_none_reaches_a_canary(canary: Canary, *, loopback: bool) -> None:
    # The canaries' port counts as open here, so that addresses and names alone must stop them. A live
    # program has no more rights where loopback is allowed.
    guard = Guard(lookup=_lookup, ports={443, canary.port}, allow_loopback=loopback)
    texts = set()
    for url in [*NASTY, *INVISIBLE]:
        result = await _attempt(guard, _fill(url, canary), sandbox=not loopback)
        assert isinstance(result, Refused), url
        assert result.reason == Reason.WEBHOOK_URL_REFUSED
        texts.add(result.message)
    # One text for open, closed and unknown alike: this is no port scanner.
    assert texts == {refused().message}
    assert canary.connections == 0


async def test_the_canaries_are_alive_and_a_sandbox_may_reach_them_where_loopback_is_allowed(canary: Canary) -> None:
    guard = Guard(lookup=_lookup, allow_loopback=True)
    hosts = [*canary.hosts, "localhost", "127.0.0.1.nip.io"]
    for host in hosts:
        assert await _attempt(guard, f"http://{host}:{canary.port}/", sandbox=True) == Answer()
    assert canary.connections >= len(hosts)


@pytest.mark.parametrize(
    "url",
    [
        "https://mixed.example/",
        "https://mixed4.example/",
        "https://[::ffff:127.0.0.1]/",
        "https://metadata.example/",
        "http://public.example/",
        "http://169.254.169.254/",
        "http://10.0.0.1/",
        "https://public.example:8443/",
        "http://0.0.0.0/",
    ],
)
async def test_a_sandbox_reaches_nothing_but_loopback_besides(url: str) -> None:
    with pytest.raises(Refused):
        await Guard(lookup=_lookup, allow_loopback=True).admit(url, sandbox=True)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://public.example", "https://public.example/"),
        ("HTTPS://Public.Example:443/Hook", "https://public.example/Hook"),
        ("https://public.example./a/../b?c=%2F&d=[", None),
        ("https://public.example./a/../b?c=%2F", "https://public.example/a/../b?c=%2F"),
        ("https://public\u3002example\u3002/", "https://public.example/"),
        ("https://public.example?x=1", "https://public.example/?x=1"),
        ("https://public.example//x@y:z", "https://public.example//x@y:z"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://BÜCHER.example/", "https://xn--bcher-kva.example/"),
        (f"https://{PUBLIC}/", f"https://{PUBLIC}/"),
        ("https://[2606:2800:0220:0001::1]/", "https://[2606:2800:220:1::1]/"),
    ],
)
async def test_a_public_url_is_admitted_in_one_spelling(url: str, canonical: str | None) -> None:
    guard = Guard(lookup=_lookup)
    if canonical is None:
        with pytest.raises(Refused):
            await guard.admit(url, sandbox=False)
        return
    assert (await guard.admit(url, sandbox=False)).place.url == canonical


@pytest.mark.parametrize(
    "host",
    [
        "134744072",
        "0x08080808",
        "8.8.2056",
        "8.526344",
        "010.8.8.8",
        "8.8.8.8.8",
        "8.8.8.256",
        "0x",
        "example.0x1",
        "134744072\u3002",
    ],
)
def test_an_address_has_one_spelling_and_the_others_are_no_names(host: str) -> None:
    with pytest.raises(Refused):
        read(f"https://{host}/")


@given(
    st.one_of(
        st.from_regex("https?://[!-~\u00c0-\u024f\uff10-\uff19\u3002\uff0e]{1,24}", fullmatch=True),
        st.builds("https://{}{}{}".format, st.text(max_size=8), st.sampled_from("@:/\\#?%.[]"), st.text(max_size=8)),
    )
)
@example("https://a:1?@b/")
@example("http://A\u3002")
@example("http://0\u3002")
def test_every_parser_reads_an_accepted_url_alike(url: str) -> None:
    try:
        place = read(url)
    except Refused:
        return
    by_client, by_library = URL(place.url, encoded=True), urlsplit(place.url)
    assert (by_client.scheme, by_client.raw_host, by_client.port) == (place.scheme, place.host, place.port)
    assert (by_library.scheme, by_library.hostname) == (place.scheme, place.host)
    assert (by_library.username, by_library.fragment, by_client.user, by_client.fragment) == (None, "", None, "")
    assert place.url.isascii()
    assert place.url.isprintable()
    assert read(place.url) == place


@given(st.ip_addresses())
@example(ip_address("::ffff:8.8.8.8"))
def test_no_address_is_both_public_and_special(address: object) -> None:
    checked = ip_address(str(address))
    if is_public(checked):
        assert checked.is_global
        special = (checked.is_private, checked.is_multicast, checked.is_reserved, checked.is_link_local)
        assert not any(special)
        assert not is_loopback(checked)


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001::1"])
def test_ordinary_hosts_are_public(address: str) -> None:
    assert is_public(ip_address(address))


async def test_a_name_that_moves_inside_is_refused_at_the_next_attempt(canary: Canary) -> None:
    answers = [[PUBLIC], ["127.0.0.1"]]

    async def rebinding(host: str, port: int) -> list[str]:
        return answers.pop(0)

    guard = Guard(lookup=rebinding, ports={canary.port})
    url = f"https://rebind.example:{canary.port}/"
    assert (await guard.admit(url, sandbox=False)).addresses == (PUBLIC,)
    assert isinstance(await _attempt(guard, url, sandbox=False), Refused)
    assert canary.connections == 0


async def test_the_connection_goes_to_the_address_that_was_checked(sink: Sink) -> None:
    asked = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    guard = Guard(lookup=rebinding, allow_loopback=True)
    answer = await _attempt(guard, f"http://rebind.example:{sink.port}/hook", sandbox=True)
    assert answer == Answer(204)
    assert asked == ["rebind.example"]
    assert sink.received[0].headers["host"] == f"rebind.example:{sink.port}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_nobody_follows_it(sink: Sink, canary: Canary, status: int) -> None:
    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"location": f"http://127.0.0.1:{canary.port}/latest/meta-data/"})

    sink.respond = redirect
    guard = Guard(allow_loopback=True)
    assert await _attempt(guard, sink.url, sandbox=True) == Answer(status)
    assert canary.connections == 0


async def test_no_proxy_of_the_environment_is_used(sink: Sink, canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    assert await _attempt(Guard(allow_loopback=True), sink.url, sandbox=True) == Answer(204)
    assert canary.connections == 0
