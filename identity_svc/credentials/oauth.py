"""The requests of RFC 6749 section 4.4, RFC 7009 and RFC 7662: read from a form or JSON, refused in the RFCs' words."""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from rewards.errors.v1.errors_pb2 import OAuthError

from identity_svc.credentials import assertions
from svckit.errors import Reason, Refused

GRANT_TYPE: Final = "client_credentials"
_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = "application/json"
_FIELDS_MAX: Final = 20
_ASSERTION_MAX: Final = 4096
_VISIBLE: Final = re.compile(r"[\x20-\x7e]*")  # RFC 6749 appendix A


@dataclass(frozen=True, slots=True)
class Proof:
    """How a client shows who it is: by its secret, or by an assertion that names it itself (RFC 7523)."""

    client_id: str
    secret: str = ""
    assertion: str = ""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a client asks for; `scope` is empty if it asks for all it has."""

    proof: Proof
    scope: str = ""


@dataclass(frozen=True, slots=True)
class TokenQuestion:
    """A token that a client wants to know of, or to have revoked."""

    proof: Proof
    token: str


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
    if fields["grant_type"] != GRANT_TYPE:
        raise refused("unsupported_grant_type", f"grant_type must be {GRANT_TYPE}.")
    return TokenRequest(_proof(fields, authorization), _visible(fields.get("scope", "")))


def token_question(content_type: str, body: bytes, authorization: str) -> TokenQuestion:
    """Which token it is about, and who asks. Whatever the hint says, there is one type of tokens only.

    Raises refusals with invalid_request or invalid_client.
    """
    fields = _fields(content_type, body)
    proof = _proof(fields, authorization)
    if "token" not in fields:
        raise refused("invalid_request", "token is missing.")
    return TokenQuestion(proof, _visible(fields["token"]))


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


def _visible(text: str) -> str:
    if not _VISIBLE.fullmatch(text):
        raise refused("invalid_request", "A parameter has a character that it may not have.")
    return text


def _proof(fields: dict[str, str], authorization: str) -> Proof:
    """The client's proof: a secret or an assertion in the body, or a secret by HTTP Basic, but no two of them."""
    scheme, _, sent = authorization.partition(" ")
    is_basic = scheme.lower() == "basic"
    ways = is_basic + ("client_secret" in fields) + ("client_assertion" in fields)
    if ways > 1:
        raise refused("invalid_request", "The client must authenticate in one way only.")
    proof = _basic(sent) if is_basic else _asserted(fields) if "client_assertion" in fields else _secret(fields)
    if fields.get("client_id", proof.client_id) != proof.client_id:
        raise refused("invalid_request", "The client must have one id.")
    for text in (proof.client_id, proof.secret, proof.assertion):
        _visible(text)
    return proof


def _secret(fields: dict[str, str]) -> Proof:
    if not {"client_id", "client_secret"} <= fields.keys():
        raise refused("invalid_client", "The client must show its id and its secret, or an assertion.")
    return Proof(fields["client_id"], fields["client_secret"])


def _basic(sent: str) -> Proof:
    try:
        text = base64.b64decode(sent.strip(), validate=True).decode()
        client_id, secret = (unquote_plus(part, errors="strict") for part in text.split(":", 1))
    except (binascii.Error, ValueError):
        raise refused("invalid_client", "The Authorization header cannot be read.") from None
    return Proof(client_id, secret)


def _asserted(fields: dict[str, str]) -> Proof:
    if fields.get("client_assertion_type") != assertions.TYPE:
        raise refused("invalid_request", f"client_assertion_type must be {assertions.TYPE}.")
    text = fields["client_assertion"]
    if len(text) > _ASSERTION_MAX:
        raise refused("invalid_client", "The assertion is too long.")
    return Proof(assertions.client_id(text), assertion=text)
