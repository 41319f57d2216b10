"""Where a webhook may go: public addresses over https, whatever its URL looks like (G55).

A URL is read by a grammar stricter than any client's, so that no two parsers can disagree about it. Its name
is resolved once, every address is checked, and the connection goes to exactly the addresses that were. There
is one refusal with one text, whether a name, an address or a port is the reason: a partner must not learn from
it what answers inside.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import aiohttp
import idna
from aiohttp.abc import AbstractResolver, ResolveResult

from svckit.errors import Reason, Refused

Address = IPv4Address | IPv6Address
Lookup = Callable[[str, int], Awaitable[list[str]]]

LOOKUP_S: Final = 3.0
PORTS: Final = frozenset({443})

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z]+)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\x00-\x20/\\?#@:\[\]%\x7f]+)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>(?:[/?][A-Za-z0-9\-._~!$&'()*+,;=:@/?%]*)?)",
)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NOT_PUBLIC: Final = tuple(
    ip_network(block)
    for block in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        # Of IPv6 only 2000::/3 is unicast of the public net; these parts of it are not, or lead into IPv4.
        *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
)
_PUBLIC_V6: Final = IPv6Network("2000::/3")
_LOOPBACK_V4: Final = IPv4Network("127.0.0.0/8")
_LOOPBACK_V6: Final = IPv6Address("::1")
# Of its own, so that the names of one partner that resolve slowly do not hold up anything else.
_THREADS: Final = ThreadPoolExecutor(32, thread_name_prefix="webhook-names")


def refused() -> Refused:
    """The one refusal, for whatever reason."""
    return Refused(Reason.WEBHOOK_URL_REFUSED, "The URL must be https on port 443 and lead to public addresses only.")


def is_public(address: Address) -> bool:
    """True if the address belongs to a host of the public net, by itself and not by translation."""
    if isinstance(address, IPv6Address) and address not in _PUBLIC_V6:
        return False
    return address.is_global and not any(address in block for block in _NOT_PUBLIC if block.version == address.version)


def is_loopback(address: Address) -> bool:
    """True for this machine's own addresses, written plainly."""
    return address in _LOOPBACK_V4 if isinstance(address, IPv4Address) else address == _LOOPBACK_V6


@dataclass(frozen=True, slots=True)
class Place:
    """What a URL names: `host` in ASCII, lower case; `url` is the same URL with nothing left to interpret."""

    scheme: str
    host: str
    port: int
    url: str


@dataclass(frozen=True, slots=True)
class Target:
    """A place with the addresses that were checked and that alone may be connected to."""

    place: Place
    addresses: tuple[str, ...]


def read(url: str) -> Place:
    """The place that a URL names. Raises WEBHOOK_URL_REFUSED for what is not plainly one of http or https."""
    parts = _URL.fullmatch(url)
    if parts is None:
        raise refused()
    scheme = parts["scheme"].lower()
    if scheme not in _DEFAULT_PORTS:
        raise refused()
    host = _host(parts["host"])
    port = int(parts["port"] or _DEFAULT_PORTS[scheme])
    suffix = "" if port == _DEFAULT_PORTS[scheme] else f":{port}"
    bracketed = f"[{host}]" if ":" in host else host
    rest = parts["rest"] if parts["rest"].startswith("/") else "/" + parts["rest"]
    return Place(scheme, host, port, f"{scheme}://{bracketed}{suffix}{rest}")


def _host(written: str) -> str:
    try:
        if written.startswith("["):
            return str(IPv6Address(written[1:-1]))
        # The root's dot goes last: there are others that become one only here.
        name = idna.encode(written, uts46=True, std3_rules=True).decode("ascii").removesuffix(".")
        if _NUMBER.fullmatch(name.rpartition(".")[2]):
            # A last label that is a number makes it an IPv4 address for every client, and there is one
            # spelling of those that all clients read alike (WHATWG URL, "ends in a number").
            return str(IPv4Address(name))
    except ValueError:
        raise refused() from None
    return name


async def system_lookup(host: str, port: int) -> list[str]:
    """All addresses that the system's resolver has for a name. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(_THREADS, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    return [str(address[0]) for *_, address in found]


class Guard:
    """Lets webhooks go to public addresses over https, on `ports`.

    With `allow_loopback`, which only a development mesh has, a sandbox program may also reach this machine
    itself, over http and on any port. `lookup` finds the addresses of a name.
    """

    def __init__(
        self, *, allow_loopback: bool = False, lookup: Lookup = system_lookup, ports: Collection[int] = PORTS
    ) -> None:
        self._allow_loopback = allow_loopback
        self._lookup = lookup
        self._ports = ports

    async def admit(self, url: str, *, sandbox: bool) -> Target:
        """The URL's place and its addresses of now. Raises WEBHOOK_URL_REFUSED, also if there is none.

        To be asked before every attempt: a name that was public may lead elsewhere a moment later.
        """
        place = read(url)
        found = await self._addresses(place)
        target = Target(place, tuple(str(address) for address in found))
        if not found:
            raise refused()
        if self._allow_loopback and sandbox and all(map(is_loopback, found)):
            return target
        if place.scheme == "https" and place.port in self._ports and all(map(is_public, found)):
            return target
        raise refused()

    async def _addresses(self, place: Place) -> list[Address]:
        try:
            return [ip_address(place.host)]
        except ValueError:
            pass
        try:
            async with asyncio.timeout(LOOKUP_S):
                return [ip_address(address) for address in await self._lookup(place.host, place.port)]
        except (OSError, ValueError):
            raise refused() from None


class PinnedResolver(AbstractResolver):
    """Answers with the addresses of a target, and for its host only."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The checked addresses. Raises OSError for any other host."""
        if host != self._target.place.host:
            raise OSError("not the host that was checked")
        return [_entry(host, port, address) for address in self._target.addresses]

    async def close(self) -> None:
        """Holds nothing."""


def connector(target: Target, tls: ssl.SSLContext) -> aiohttp.TCPConnector:
    """Connects to a target's addresses only. One for each call, because a connection that was opened for one check is
    never used after another."""
    return aiohttp.TCPConnector(resolver=PinnedResolver(target), use_dns_cache=False, ssl=tls, force_close=True)


def _entry(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)
