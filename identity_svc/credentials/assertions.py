"""Client assertions (RFC 7523): a client shows who it is by a short JWT that it has signed itself.

The algorithm is the key's, never the header's choice alone, and the keys are the client's own registered ones: what
a header brings along is ignored.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
from jwt.types import Options
from rewards.errors.v1.errors_pb2 import OAuthError

from svckit.errors import Reason, Refused, invalid

TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIFE_MAX: Final = timedelta(minutes=5)
CLOCK_SKEW: Final = timedelta(seconds=60)
ID_MAX: Final = 255
KEYS_MAX: Final = 10
RSA_BITS_MIN: Final = 2048
# By the key's type and curve; an RSA key has no curve.
ALGORITHMS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("OKP", "Ed25519"): ("EdDSA",),
    ("EC", "P-256"): ("ES256",),
    ("RSA", ""): ("PS256", "RS256"),
}
ALL_ALGORITHMS: Final = sorted(name for names in ALGORITHMS.values() for name in names)
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
# The times are judged here, in words that help whoever writes a client.
_UNJUDGED: Final[Options] = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False}


@dataclass(frozen=True, slots=True)
class Assertion:
    """A good assertion: its id, which is good once, and when it ends."""

    assertion_id: str
    ends_at: datetime


def public_keys(text: str) -> str:
    """The JWKS as it is kept. Raises INVALID_REQUEST unless it has public keys of the kinds above, and only those."""
    try:
        keys: Any = json.loads(text)["keys"]
        if not isinstance(keys, list) or not 1 <= len(keys) <= KEYS_MAX:
            raise invalid(jwks=f"must have 1 to {KEYS_MAX} keys")
        for key in keys:
            _check_key(key)
        return json.dumps({"keys": keys}, separators=(",", ":"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, jwt.PyJWTError):
        raise invalid(jwks="is not a JSON Web Key Set of public keys") from None


def client_id(text: str) -> str:
    """Whose assertion it says it is; empty if it does not say. Nothing of it is verified."""
    try:
        found = jwt.decode(text, options={"verify_signature": False, **_UNJUDGED}).get("sub")
    except jwt.PyJWTError:
        return ""
    return found if isinstance(found, str) else ""


def read(text: str, jwks: str, client: str, audiences: frozenset[str], now: datetime) -> Assertion:
    """The assertion, if the client has signed it for us. Raises a refusal that says what is wrong with it."""
    claims = _verified(text, jwks)
    if claims is None:
        raise refused("is not signed with a key of the client")
    if claims.get("iss") != client or claims.get("sub") != client:
        raise refused("must have the client as iss and as sub")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    # For several audiences it would be of use to the others as well.
    if len(named) != 1 or not isinstance(named[0], str) or named[0] not in audiences:
        raise refused("must have this server as its one aud")
    ends_at = _end(claims, now)
    assertion_id = claims.get("jti")
    if not isinstance(assertion_id, str) or not assertion_id.isprintable() or not 0 < len(assertion_id) <= ID_MAX:
        raise refused(f"must have a jti of 1 to {ID_MAX} characters")
    return Assertion(assertion_id, ends_at)


def refused(what: str) -> Refused:
    """The refusal of an assertion."""
    return Refused(Reason.UNAUTHENTICATED, f"The assertion {what}.", detail=OAuthError(error="invalid_client"))


def _check_key(key: dict[str, Any]) -> None:
    if _PRIVATE.intersection(key):
        raise invalid(jwks="holds a private or a secret key, which must not leave its owner")
    if (key["kty"], key.get("crv", "")) not in ALGORITHMS:
        raise invalid(jwks="has a key that is neither Ed25519 nor P-256 nor RSA")
    public = jwt.PyJWK(key).key
    if key["kty"] == "RSA" and public.key_size < RSA_BITS_MIN:
        raise invalid(jwks=f"has an RSA key of under {RSA_BITS_MIN} bits")


def _verified(text: str, jwks: str) -> dict[str, Any] | None:
    try:
        header = jwt.get_unverified_header(text)
    except jwt.PyJWTError:
        return None
    for key in json.loads(jwks)["keys"]:
        algorithms = ALGORITHMS[key["kty"], key.get("crv", "")]
        if header["alg"] not in algorithms or ("kid" in header and "kid" in key and header["kid"] != key["kid"]):
            continue
        try:
            public = jwt.PyJWK(key, algorithm=header["alg"])
            claims: dict[str, Any] = jwt.decode(text, public, algorithms=algorithms, options=_UNJUDGED)
        except jwt.PyJWTError:
            continue
        return claims
    return None


def _end(claims: Mapping[str, Any], now: datetime) -> datetime:
    """When the assertion ends. A client whose clock is a little ahead may say so by its iat."""
    begins_at = now
    for name in ("iat", "nbf"):
        at = _time(claims, name)
        if name in claims and (at is None or at > now + CLOCK_SKEW):
            raise refused(f"has an {name} that is no instant of the past")
        begins_at = max(begins_at, at or now)
    ends_at = _time(claims, "exp")
    if ends_at is None or not now < ends_at <= begins_at + LIFE_MAX:
        raise refused("must have an exp in the next five minutes")
    return ends_at


def _time(claims: Mapping[str, Any], name: str) -> datetime | None:
    seconds = claims.get(name)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
