"""Page tokens: the place after which the next page starts, bound to the filters it was made for (G63)."""

import base64
import hashlib
import json
from typing import Any, Final

from google.protobuf.message import Message

from svckit.errors import invalid

DEFAULT_SIZE: Final = 50
MAX_SIZE: Final = 500


def size(asked: int) -> int:
    """The page size: 50 if unset, never over 500 (AIP-158)."""
    return min(asked or DEFAULT_SIZE, MAX_SIZE)


def token(request: Message, *place: str) -> str:
    """A token for the page after `place`, valid for a request with the same filters."""
    text = json.dumps([_filters(request), *place], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode()


def place(request: Any, parts: int) -> list[str] | None:
    """The place that the request's page token names; None for the first page. Raises INVALID_REQUEST for a token
    that was made for other filters or not by us."""
    if not request.page_token:
        return None
    found: list[str]
    try:
        filters, *found = json.loads(base64.urlsafe_b64decode(request.page_token.encode()))
    except (ValueError, TypeError):
        filters, found = None, []
    if filters != _filters(request) or len(found) != parts or not all(isinstance(x, str) for x in found):
        raise invalid(pageToken="is not a token of this list with these filters")
    return found


def _filters(request: Message) -> str:
    bare = type(request).FromString(request.SerializeToString())
    bare.ClearField("page_token")
    bare.ClearField("page_size")
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()[:16]
