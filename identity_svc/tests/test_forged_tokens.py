"""Tokens that somebody else made, or that were changed: not one gets through."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from identity_svc.credentials.signing import Keyring, SigningKey
from identity_svc.tests.running import PEPPER, Running
from identity_svc.tests.test_gatekeeper import BALANCE, REST, token
from identity_svc.tests.verdicts import denied, passed

Forge = Callable[[dict[str, Any], dict[str, Any], SigningKey], str]


def signed(header: dict[str, Any], claims: dict[str, Any], key: Ed25519PrivateKey) -> str:
    """A token with exactly this header, signed by `key`."""
    text = ".".join(_part(json.dumps(part).encode()) for part in (header, claims))
    return f"{text}.{_part(key.sign(text.encode()))}"


def _part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _header(**changes: object) -> Forge:
    return lambda header, claims, key: signed({**header, **changes}, claims, key.private)


def _claims(**changes: object) -> Forge:
    def forge(header: dict[str, Any], claims: dict[str, Any], key: SigningKey) -> str:
        merged = {**claims, **changes}
        return signed(header, {name: value for name, value in merged.items() if value is not None}, key.private)

    return forge


def _unsigned(header: dict[str, Any], claims: dict[str, Any], key: SigningKey) -> str:
    return signed({**header, "alg": "none"}, claims, key.private).rpartition(".")[0] + "."


def _hmac_with_public_key(header: dict[str, Any], claims: dict[str, Any], key: SigningKey) -> str:
    # PyJWT refuses to sign so, which is why the library that verifies is not the one that forges here.
    pem = key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = ".".join(_part(json.dumps(part).encode()) for part in ({**header, "alg": "HS256"}, claims))
    return f"{text}.{_part(hmac.digest(pem, text.encode(), hashlib.sha256))}"


def _other_key(header: dict[str, Any], claims: dict[str, Any], key: SigningKey) -> str:
    return signed(header, claims, Ed25519PrivateKey.generate())


def _changed_claims(header: dict[str, Any], claims: dict[str, Any], key: SigningKey) -> str:
    good = signed(header, claims, key.private).split(".")
    more = _part(json.dumps({**claims, "scope": "points:read points:write"}).encode())
    return ".".join((good[0], more, good[2]))


def _embedded_key(header: dict[str, Any], claims: dict[str, Any], key: SigningKey) -> str:
    own = Ed25519PrivateKey.generate()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": _part(own.public_key().public_bytes_raw())}
    return signed({**header, "jwk": jwk}, claims, own)


FORGERIES: dict[str, Forge] = {
    "alg none": _unsigned,
    "HS256 with the public key": _hmac_with_public_key,
    "another key under our kid": _other_key,
    "claims changed": _changed_claims,
    "embedded jwk": _embedded_key,
    "jku": _header(jku="https://attacker.test/keys"),
    "x5u": _header(x5u="https://attacker.test/cert"),
    "crit": _header(crit=["exp"]),
    "b64": _header(b64=False),
    "unknown kid": _header(kid="unknown"),
    "kid is a path": _header(kid="../../etc/passwd"),
    "kid is SQL": _header(kid="' OR 1=1 --"),
    "kid is no text": _header(kid=1),
    "typ of an ID token": _header(typ="JWT"),
    "typ missing": _header(typ=None),
    "alg ES256": _header(alg="ES256"),
    "aud of somebody else": _claims(aud="https://other.test"),
    "aud missing": _claims(aud=None),
    "iss of somebody else": _claims(iss="https://other.test"),
    "iss missing": _claims(iss=None),
    "exp missing": _claims(exp=None),
    "exp is text": _claims(exp="tomorrow"),
    "exp is no time": _claims(exp=10**30),
    "iat in the future": _claims(iat=int(time.time()) + 3600, exp=int(time.time()) + 7200),
    "iat missing": _claims(iat=None),
    "program of somebody else": _claims(program="other"),
    "epoch of the past": _claims(epoch=0),
    "epoch missing": _claims(epoch=None),
    "unknown client": _claims(client_id="cl_unknown"),
    "client is no text": _claims(client_id=1),
    "scope missing": _claims(scope=None),
    "jti missing": _claims(jti=None),
}


async def parts(identity: Running) -> tuple[dict[str, Any], dict[str, Any], SigningKey]:
    """A good token's header and claims, and the key that signed it."""
    bearer = await token(identity, "points:read")
    key = await Keyring(identity.db, PEPPER).newest()
    return jwt.get_unverified_header(bearer), jwt.decode(bearer, options={"verify_signature": False}), key


async def test_the_forger_of_these_tests_can_make_a_good_token(identity: Running) -> None:
    header, claims, key = await parts(identity)
    passed(await identity.check(BALANCE, {"authorization": f"Bearer {signed(header, claims, key.private)}"}))


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_forged_token_is_refused(identity: Running, forge: Forge) -> None:
    forged = forge(*await parts(identity))
    answer = await identity.check(BALANCE, {"authorization": f"Bearer {forged}", **REST})
    assert denied(answer) == (401, "UNAUTHENTICATED")


async def test_a_token_cannot_gain_a_scope_that_its_client_lacks(identity: Running) -> None:
    header, claims, key = await parts(identity)
    more = signed(header, {**claims, "scope": "points:read points:write"}, key.private)
    headers, _ = passed(await identity.check(BALANCE, {"authorization": f"Bearer {more}"}))
    assert headers["x-rewards-scopes"] == "points:read"
