"""The token request of RFC 6749 section 4.4: read from a form or JSON, refused in the RFC's words."""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from rewards.errors.v1.errors_pb2 import OAuthError

from svckit.errors import Reason, Refused

_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = "application/json"
_FIELDS_MAX: Final = 20
_VISIBLE: Final = re.compile(r"[\x20-\x7e]*")  # RFC 6749 appendix A


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a client asks for; `scope` is empty if it asks for all it has."""

    client_id: str
    client_secret: str
    scope: str


def refused(error: str, text: str) -> Refused:
    """A refusal with RFC 6749's `error`: 401 for invalid_client, 400 for all others."""
    reason = Reason.UNAUTHENTICATED if error == "invalid_client" else Reason.INVALID_REQUEST
    return Refused(reason, text, detail=OAuthError(error=error))


def token_request(content_type: str, body: bytes, authorization: str) -> TokenRequest:
    """What the client asks for. Parameters that the RFC does not know are ignored, as it wants.

    Raises refusals with invalid_request, unsupported_grant_type or invalid_client.
    """
    fields = _fields(content_type, body)
    if "grant_type" not in fields:
        raise refused("invalid_request", "grant_type is missing.")
    if fields["grant_type"] != "client_credentials":
        raise refused("unsupported_grant_type", "grant_type must be client_credentials.")
    asked = TokenRequest(*_client(fields, authorization), fields.get("scope", ""))
    if not all(_VISIBLE.fullmatch(text) for text in (asked.client_id, asked.client_secret, asked.scope)):
        raise refused("invalid_request", "A parameter has a character that it may not have.")
    return asked


def grant(allowed: frozenset[str], asked: str) -> str:
    """The scopes of a token, in order: all that the client has, or those of them that it asked for.

    Raises a refusal with invalid_scope if it asked for more (RFC 6749 section 3.3).
    """
    wanted = frozenset(asked.split()) or allowed
    if not wanted <= allowed:
        raise refused("invalid_scope", "The client does not have this scope.")
    return " ".join(sorted(wanted))


def _fields(content_type: str, body: bytes) -> dict[str, str]:
    kind = content_type.partition(";")[0].strip().lower()
    pairs: object
    try:
        if kind == _JSON:
            # An object becomes a tuple of pairs, which nothing else in JSON does; a plain dict would drop duplicates.
            pairs = json.loads(body, object_pairs_hook=tuple)
        elif kind == _FORM:
            text = body.decode("ascii")
            pairs = tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MAX))
        else:
            raise refused("invalid_request", f"The body must be {_FORM} or {_JSON}.")
    except (ValueError, RecursionError):
        raise refused("invalid_request", "The body cannot be read.") from None
    return _once_each(pairs)


def _once_each(pairs: object) -> dict[str, str]:
    fields: dict[str, str] = {}
    for pair in pairs if isinstance(pairs, tuple) else (pairs,):
        match pair:
            case (str() as name, str() as value) if name not in fields:
                fields[name] = value
            case (str(), str()):
                raise refused("invalid_request", "A parameter stands there twice.")
            case _:
                raise refused("invalid_request", "The body must be an object of strings.")
    # A parameter without a value counts as absent (RFC 6749 section 3.2).
    return {name: value for name, value in fields.items() if value}


def _client(fields: dict[str, str], authorization: str) -> tuple[str, str]:
    """The client's id and secret, from the body or from HTTP Basic, but not from both."""
    scheme, _, sent = authorization.partition(" ")
    in_body = "client_secret" in fields
    if scheme.lower() != "basic":
        if not in_body or "client_id" not in fields:
            raise refused("invalid_client", "The client must show its id and its secret.")
        return fields["client_id"], fields["client_secret"]
    if in_body:
        raise refused("invalid_request", "The client must authenticate in one way only.")
    try:
        text = base64.b64decode(sent.strip(), validate=True).decode()
        client_id, secret = (unquote_plus(part, errors="strict") for part in text.split(":", 1))
    except (binascii.Error, ValueError):
        raise refused("invalid_client", "The Authorization header cannot be read.") from None
    if fields.get("client_id", client_id) != client_id:
        raise refused("invalid_request", "The client must have one id.")
    return client_id, secret
