"""One attempt of a delivery: a signed POST to an address that was checked (Standard Webhooks 1.0.0)."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from standardwebhooks import Webhook
from yarl import URL

from fulfillment_svc.webhooks.rules import Answer
from fulfillment_svc.webhooks.ssrf import Target, connector
from svckit.clock import Clock, system_clock

CONNECT_S: Final = 3.0
TOTAL_S: Final = 15.0
# The client stops receiving at twice this. Nothing in an answer's body is of use: the connection is closed on it.
_BUFFER_BYTES: Final = 32 * 1024


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: `payload` byte for byte, under an id that every attempt of the event has."""

    message_id: str
    payload: bytes


def signed(message: Message, secret: str, at: datetime) -> dict[str, str]:
    """The headers of an attempt at `at`: id, timestamp and signature."""
    return {
        "content-type": "application/json",
        "user-agent": "rewards-mesh-webhooks/1",
        "webhook-id": message.message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message.message_id, at, message.payload.decode()),
    }


class Sender:
    """Sends. `tls` decides which servers are believed: those of the system's authorities if not given.

    The clock is the real one in every program: receivers refuse a timestamp that is five minutes off.
    """

    def __init__(
        self, tls: ssl.SSLContext | None = None, total_s: float = TOTAL_S, clock: Clock = system_clock
    ) -> None:
        self._tls = tls or ssl.create_default_context()
        self._timeout = aiohttp.ClientTimeout(total=total_s, connect=CONNECT_S)
        self._clock = clock

    async def post(self, target: Target, message: Message, secret: str) -> Answer:
        """Makes one attempt, in `total_s` at most. A failure to get an answer is an Answer without a status.

        Redirects are answers like any other, never followed; no proxy, cookie or netrc of the environment
        plays a part.
        """
        try:
            return await self._post(target, message, secret)
        except (aiohttp.ClientError, OSError):
            return Answer()

    async def _post(self, target: Target, message: Message, secret: str) -> Answer:
        now = self._clock()
        async with (
            aiohttp.ClientSession(
                connector=connector(target, self._tls),
                timeout=self._timeout,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=_BUFFER_BYTES,
            ) as session,
            session.post(
                URL(target.place.url, encoded=True),
                data=message.payload,
                headers=signed(message, secret, now),
                allow_redirects=False,
            ) as response,
        ):
            return Answer(response.status, retry_after(response.headers.get("retry-after", ""), now))


def retry_after(header: str, now: datetime) -> timedelta | None:
    """How long a Retry-After asks to wait (RFC 9110: seconds, or a date); None if it says nothing."""
    if header.isascii() and header.isdigit():
        return timedelta(seconds=min(int(header[:10]), 10**9))
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    return date.replace(tzinfo=date.tzinfo or UTC) - now
