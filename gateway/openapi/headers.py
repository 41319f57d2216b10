"""The headers that calls may have and answers have."""

from collections.abc import Iterable
from typing import Any, Final

_WHOLE: Final = {"type": "integer", "minimum": 0}


def _header(description: str, schema: dict[str, Any], *, always: bool = False) -> dict[str, Any]:
    return {"description": description, "required": always, "schema": schema}


HEADERS: Final[dict[str, dict[str, Any]]] = {
    "X-Request-Id": _header("Names this call, also to us.", {"type": "string", "minLength": 1}, always=True),
    "X-Trace-Id": _header(
        "Names the trace it is part of; zeros if there is none.",
        {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        always=True,
    ),
    "X-RateLimit-Limit": _header("What the limit nearest its end allows: so many calls at once, or in a day.", _WHOLE),
    "X-RateLimit-Remaining": _header("How many more may come now.", _WHOLE),
    "X-RateLimit-Reset": _header("Seconds until all of them may come again, rounded up.", _WHOLE),
    "Retry-After": _header("Seconds to wait before the next try.", {"type": "integer", "minimum": 1}),
    "Idempotency-Replayed": _header(
        "There where this is the answer of an earlier call with the same key.", {"type": "string", "const": "true"}
    ),
    "WWW-Authenticate": _header("How to authenticate.", {"type": "string", "minLength": 1}),
    "Deprecation": _header(
        "Since when this is on its way out (RFC 9745).", {"type": "string", "pattern": "^@[0-9]+$"}, always=True
    ),
    "Sunset": _header("When it may be gone (RFC 8594).", {"type": "string", "minLength": 1}),
    "Link": _header("The page that says what to do instead.", {"type": "string", "minLength": 1}, always=True),
    "ETag": _header(
        "Changes with the answer; send it as If-None-Match.", {"type": "string", "minLength": 1}, always=True
    ),
}
EVERY: Final = ("X-Request-Id", "X-Trace-Id")
LIMITS: Final = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
DEPRECATED: Final = ("Deprecation", "Sunset", "Link")
TAGGED: Final = ("ETag",)
REPLAYED: Final = "Idempotency-Replayed"
# Whoever has shown a good credential is told of its limits, whatever the answer.
OF_REFUSAL: Final = {
    400: LIMITS,
    401: ("WWW-Authenticate",),
    403: LIMITS,
    404: (*LIMITS, REPLAYED),
    409: (*LIMITS, REPLAYED, "Retry-After"),
    422: (*LIMITS, REPLAYED),
    429: (*LIMITS, "Retry-After"),
    500: LIMITS,
    503: (*LIMITS, "Retry-After"),
    504: LIMITS,
}


def referred(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The headers of an answer: these, and those of every answer."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*EVERY, *names)}
