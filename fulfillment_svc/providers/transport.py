"""How adapters talk HTTP: one exchange, bounded in time and size, and what is common to reading its answer."""

import re
from typing import Any, Final, NamedTuple, TypeGuard

import aiohttp
from opentelemetry import trace

from fulfillment_svc.providers import NotSent, Unknown
from svckit import telemetry

BODY_MAX_BYTES: Final = 64 * 1024
CODE_MAX: Final = 256
MALFORMED: Final = Unknown("MALFORMED_ANSWER")
CONTRADICTION: Final = Unknown("CONTRADICTING_ANSWER")

_REASON: Final = re.compile(r"[A-Z][A-Z0-9_]{0,39}")


class Heard(NamedTuple):
    """An answer as it came; the body is empty, which is no JSON, if it was over the cap."""

    status: int
    body: bytes


def open_session(connector: aiohttp.BaseConnector | None = None) -> aiohttp.ClientSession:
    """A session for providers: no cookies, and no compressed answers, which could be small and huge at once."""
    return aiohttp.ClientSession(
        connector=connector,
        headers={"accept-encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


async def exchange(session: aiohttp.ClientSession, method: str, url: Any, **what: Any) -> Heard | Unknown:
    """Asks once and follows no redirect. A POST is never sent again by the client, so one that could not connect is
    NotSent for good."""
    with telemetry.span("provider orders", trace.SpanKind.CLIENT, {"http.request.method": method}) as span:
        try:
            async with session.request(method, url, allow_redirects=False, **what) as response:
                span.set_attribute("http.response.status_code", response.status)
                return Heard(response.status, await _capped(response.content))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return NotSent("UNREACHABLE")
        except TimeoutError:
            return Unknown("TIMEOUT")
        except (aiohttp.ClientError, OSError):
            return Unknown("UNREACHABLE")


def is_code(code: object) -> TypeGuard[str]:
    """True for what can be a code: some text that is printed as it is."""
    return isinstance(code, str) and 0 < len(code) <= CODE_MAX and code.isprintable()


def reason(sent: object) -> str:
    """A provider's reason, if it is a constant like OUT_OF_STOCK; else just REJECTED."""
    return sent if isinstance(sent, str) and _REASON.fullmatch(sent) else "REJECTED"


async def _capped(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    while chunk := await content.readany():
        body += chunk
        if len(body) > BODY_MAX_BYTES:
            return b""
    return bytes(body)
