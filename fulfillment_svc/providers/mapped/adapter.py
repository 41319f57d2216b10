"""The adapter for a provider that is described by a file."""

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from fulfillment_svc.providers import Issued, NotSeen, NotSent, Order, Pending, Rejected, Unknown
from fulfillment_svc.providers.mapped.answers import Answer, Rule, read
from fulfillment_svc.providers.mapped.template import filled
from fulfillment_svc.providers.transport import CONTRADICTION, Heard, exchange, open_session
from fulfillment_svc.webhooks.ssrf import Guard, connector
from svckit.errors import Refused

CONNECT_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a template: `body` is none or what is sent as JSON. The headers may hold secrets."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: object = None


@dataclass(frozen=True, slots=True)
class Description:
    """What the file says of a provider: how it is asked, how its answers are read, and what it promises."""

    order: Request
    query: Request
    rules: tuple[Rule, ...]
    idempotent: bool
    visibility_s: float
    pending_s: float
    timeout_s: float


class MappedProvider:
    """A provider as it is described. Where it may be reached is decided by `guard`, anew at each call, and which server
    is believed by `tls`."""

    def __init__(self, described: Description, guard: Guard, tls: ssl.SSLContext | None = None) -> None:
        self._described = described
        self._guard = guard
        self._tls = tls or ssl.create_default_context()
        self._timeout = aiohttp.ClientTimeout(total=described.timeout_s, connect=CONNECT_S)
        self.idempotent = described.idempotent
        self.visibility_s = described.visibility_s
        self.pending_s = described.pending_s

    async def order(self, order: Order) -> Issued | Rejected | Pending | Unknown:
        """Orders the items under our reference."""
        answer = await self._ask(self._described.order, order)
        return CONTRADICTION if isinstance(answer, NotSeen) else answer

    async def query(self, order: Order) -> Issued | Rejected | Pending | NotSeen | Unknown:
        """Asks what became of the order."""
        return await self._ask(self._described.query, order)

    async def _ask(self, request: Request, order: Order) -> Answer:
        url = str(filled(request.url, order, quoted=lambda value: quote(value, safe="")))
        body = None if request.body is None else json.dumps(filled(request.body, order)).encode()
        try:
            # Only a development mesh's guard lets anything through to this machine.
            target = await self._guard.admit(url, sandbox=True)
        except Refused:
            return NotSent("ADDRESS_REFUSED")
        async with open_session(connector(target, self._tls)) as session:
            where = URL(target.place.url, encoded=True)
            heard = await exchange(
                session, request.method, where, timeout=self._timeout, headers=request.headers, data=body
            )
        return read(self._described.rules, heard, order) if isinstance(heard, Heard) else heard
