"""Where feeds come from: adapters that read what a provider sells, and one for feeds that are JSON over HTTP.

Such a feed is `{"rewards": [...]}`. An entry has the fields of `rewards.catalog.v1.Reward` as JSON, and may have
`prices` (`[{"denomination", "points"}]`), `texts` (`[{"language", "name", "description", "terms"}]`) and `stock`.
Other fields are the provider's own and mean nothing here.
"""

import asyncio
import json
from collections import Counter
from typing import Any, Final, Protocol

import aiohttp
from google.protobuf.json_format import ParseDict, ParseError
from rewards.catalog.v1.rewards_pb2 import Reward, RewardPrice, RewardText

from catalog_svc import wire
from catalog_svc.sync.rules import Action, Change, Feed, Offer
from svckit.admission import validate
from svckit.errors import Refused

MAX_BYTES: Final = 64 << 20
TIMEOUT_S: Final = 60.0
_REASON_MAX: Final = 500
_NAME_MAX: Final = 80


class FeedBrokenError(Exception):
    """The feed as a whole cannot be read; the text says why and is for operators."""


class Source(Protocol):
    """A provider's adapter."""

    async def read(self) -> Feed:
        """All that the provider sells now. Raises FeedBrokenError."""


class JsonFeed:
    """A JSON feed at an address."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def read(self) -> Feed:
        """Reads the feed. Raises FeedBrokenError if it does not answer in time, with 200 and with a feed."""
        body = await self._fetch()
        # Tens of thousands of entries take seconds, in which others want to be served.
        return await asyncio.to_thread(parse, body)

    async def _fetch(self) -> bytes:
        try:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self._url) as response:
                if response.status != 200:  # noqa: PLR2004 - as HTTP calls it
                    raise FeedBrokenError(f"the feed answers with {response.status}")
                body = b"".join([chunk async for chunk in _bounded(response.content)])
        except (aiohttp.ClientError, TimeoutError) as error:
            raise FeedBrokenError(f"the feed cannot be fetched: {type(error).__name__}") from error
        return body


async def _bounded(content: aiohttp.StreamReader) -> Any:
    left = MAX_BYTES
    async for chunk in content.iter_any():
        left -= len(chunk)
        if left < 0:
            raise FeedBrokenError(f"the feed is over {MAX_BYTES >> 20} MiB")
        yield chunk


def parse(body: bytes) -> Feed:
    """The feed that `body` is. Raises FeedBrokenError if it is none; an entry that cannot be read is rejected."""
    try:
        entries = json.loads(body)["rewards"]
    except (ValueError, TypeError, KeyError) as error:
        raise FeedBrokenError("the feed is no JSON object with rewards") from error
    if not isinstance(entries, list):
        raise FeedBrokenError("the feed's rewards are no list")
    named = [(_name(entry, place), entry) for place, entry in enumerate(entries)]
    times = Counter(name for name, _ in named)
    offers: dict[str, Offer] = {}
    rejected: dict[str, Change] = {}
    for name, entry in named:
        try:
            if times[name] > 1:
                raise ParseError(f"it stands there {times[name]} times")
            offers[name] = _offer(name, entry)
        except (ParseError, Refused, ValueError, TypeError) as error:
            rejected[name] = Change(name, Action.REJECTED, reason=_sayable(str(error), _REASON_MAX))
    return Feed(offers, list(rejected.values()))


def _name(entry: Any, place: int) -> str:
    name = entry.get("rewardId") if isinstance(entry, dict) else None
    return _sayable(name, _NAME_MAX) if isinstance(name, str) and name else f"entry {place}"


def _sayable(text: str, most: int) -> str:
    """The text without what PostgreSQL cannot keep; of a provider nothing is certain."""
    return text.encode(errors="replace").decode().replace("\0", "?")[:most]


def _offer(name: str, entry: Any) -> Offer:
    if not isinstance(entry, dict):
        raise ParseError("it is no object")
    known = {field.json_name for field in Reward.DESCRIPTOR.fields}
    message = ParseDict({key: value for key, value in entry.items() if key in known}, Reward())
    prices = [ParseDict({**price, "rewardId": name}, RewardPrice()) for price in entry.get("prices", ())]
    texts = [ParseDict({**text, "rewardId": name}, RewardText()) for text in entry.get("texts", ())]
    for part in (message, *prices, *texts):
        validate(part)
    units = entry.get("stock")
    if units is not None and (type(units) is not int or units < 0):
        raise ParseError("stock is no number of units")
    priced = [(f"prices[{place}]", price) for place, price in enumerate(prices)]
    told = [(f"texts[{place}]", text) for place, text in enumerate(texts)]
    return Offer(wire.reward("entry", message, priced, told), units)
