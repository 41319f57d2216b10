"""What is on its way out: an RPC by its proto's option, a whole version by the root of its paths."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from rewards.options.v1.options_pb2 import Deprecation

from gateway.surface import Binding, Rpc

# {"/v1/": Deprecation(since=…, sunset=…, link=…)} deprecates everything under /v1/, whatever serves it. None is now.
VERSIONS: Final[Mapping[str, Deprecation]] = {}


def deprecation(rpc: Rpc, binding: Binding, versions: Mapping[str, Deprecation]) -> Deprecation | None:
    """What a binding of an RPC has to say of its end; its own word goes before that of its version."""
    if rpc.deprecation is not None:
        return rpc.deprecation
    return next((found for root, found in versions.items() if binding.template.startswith(root)), None)


def notices(found: Deprecation) -> dict[str, str]:
    """The same as headers: Deprecation (RFC 9745), Sunset (RFC 8594), and a Link to the page.

    Raises ValueError if a day is none, if the end comes before the beginning, or if there is no page.
    """
    since = _midnight(found.since)
    if not found.link:
        raise ValueError(f"what is deprecated since {found.since} has no page that says what to do")
    headers = {"deprecation": f"@{int(since.timestamp())}", "link": f'<{found.link}>; rel="deprecation"'}
    if not found.sunset:
        return headers
    sunset = _midnight(found.sunset)
    if sunset < since:
        raise ValueError(f"the sunset {found.sunset} is before the deprecation {found.since}")
    return {**headers, "sunset": format_datetime(sunset, usegmt=True)}


def _midnight(day: str) -> datetime:
    return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
