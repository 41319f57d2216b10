"""Access tokens as text: JWTs of RFC 9068, in exactly the form in which this service makes them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import jwt

from identity_svc.credentials.rules import Token
from identity_svc.credentials.signing import Keyring, SigningKey

ALGORITHM: Final = "EdDSA"
TYPE: Final = "at+jwt"
LENGTH_MAX: Final = 4096
_HEADERS: Final = frozenset({"alg", "typ", "kid"})


@dataclass(frozen=True, slots=True)
class Audience:
    """`issuer` is the address of this installation; `resource` is what its tokens open. The others are where OAuth's
    requests go."""

    issuer: str
    resource: str
    token: str
    revocation: str
    introspection: str
    keys: str

    @property
    def server(self) -> frozenset[str]:
        """Whom an assertion may name: the server itself, or where its requests go (RFC 7523 section 3, RFC 9126)."""
        return frozenset({self.issuer, self.token, self.revocation, self.introspection})

    @classmethod
    def of(cls, public_url: str) -> "Audience":
        """All of it, for the installation that partners reach at `public_url`."""
        oauth = f"{public_url}/oauth"
        keys = f"{public_url}/.well-known/jwks.json"
        return cls(public_url, f"{public_url}/v1", f"{oauth}/token", f"{oauth}/revoke", f"{oauth}/introspect", keys)


def sign(token: Token, key: SigningKey, audience: Audience) -> str:
    """The token as text; always the same for the same token and key."""
    claims = {
        "iss": audience.issuer,
        "aud": audience.resource,
        # A client acts for itself, so it is the subject as well (RFC 9068 section 2.2).
        "sub": token.member_id or token.credential_id,
        "client_id": token.credential_id,
        "iat": int(token.issued_at.timestamp()),
        "exp": int(token.expires_at.timestamp()),
        "jti": str(token.token_id),
        "scope": token.scope,
        "program": token.program_id,
        "epoch": token.epoch,
    }
    if token.member_id:
        claims["member"] = token.member_id
    return jwt.encode(claims, key.private, ALGORITHM, headers={"typ": TYPE, "kid": key.key_id})


def key_id(text: str) -> str | None:
    """The key id in the token's header; None if the header is not exactly what this service writes.

    A header that brings its own key, algorithm or extension is refused here, before anything is verified.
    """
    if len(text) > LENGTH_MAX:
        return None
    try:
        header = jwt.get_unverified_header(text)
    except jwt.InvalidTokenError:
        return None
    if header.keys() != _HEADERS or header["alg"] != ALGORITHM or header["typ"] != TYPE:
        return None
    found: str = header["kid"]
    return found


async def verified(text: str, keyring: Keyring, audience: Audience) -> Token | None:
    """The token, if one of our keys has signed it for this audience; None otherwise. Raises UNAVAILABLE."""
    named = key_id(text)
    key = None if named is None else await keyring.find(named)
    return None if key is None else read(text, key, audience)


def read(text: str, key: SigningKey, audience: Audience) -> Token | None:
    """The token, if `key` has signed it for this audience; None otherwise.

    Its times are the reader's to judge: they are of the program's clock, which only the program tells.
    """
    try:
        claims: dict[str, Any] = jwt.decode(
            text,
            key.public,
            algorithms=[ALGORITHM],
            audience=audience.resource,
            issuer=audience.issuer,
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
        return Token(
            program_id=claims["program"],
            credential_id=claims["client_id"],
            scope=claims["scope"],
            epoch=claims["epoch"],
            token_id=UUID(claims["jti"]),
            key_id=key.key_id,
            issued_at=datetime.fromtimestamp(claims["iat"], UTC),
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
            member_id=claims.get("member", ""),
        )
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
