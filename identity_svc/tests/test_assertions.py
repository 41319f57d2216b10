"""Assertions that clients sign (RFC 7523): whose keys, for whom, for how long, and each one once."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from google.api.httpbody_pb2 import HttpBody
from rewards.errors.v1.errors_pb2 import OAuthError
from rewards.identity.v1 import access_pb2, tokens_pb2
from rewards.identity.v1 import credentials_pb2 as pb
from rewards.identity.v1.access_pb2_grpc import AccessServiceStub
from sqlalchemy import text

from devmesh.pki import Authority
from identity_svc.credentials import assertions
from identity_svc.tests.running import Clocks, Running, outcomes, reason, refusal, running, worker
from identity_svc.tests.test_gatekeeper import REST
from identity_svc.tests.test_revocation import TRIALS, passed
from identity_svc.tests.test_rotation import SCOPE, caller
from svckit.errors import Refused

SERVER = "https://api.example.test"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ALGORITHMS: Mapping[str, Any] = {
    "OKP": jwt.algorithms.OKPAlgorithm,
    "EC": jwt.algorithms.ECAlgorithm,
    "RSA": jwt.algorithms.RSAAlgorithm,
}
P256, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)


def jwk(private: Any, kty: str = "EC", **more: str) -> dict[str, Any]:
    found: dict[str, Any] = ALGORITHMS[kty].to_jwk(private.public_key(), as_dict=True)
    return found | more


def jwks(*keys: dict[str, Any]) -> str:
    return json.dumps({"keys": list(keys)})


def assertion(private: Any = P256, algorithm: str = "ES256", headers: Any = None, **changes: Any) -> str:
    at = int(changes.pop("at", NOW).timestamp())
    claims = {"iss": "cl_1", "sub": "cl_1", "aud": SERVER, "iat": at, "exp": at + 300, "jti": "one", **changes}
    given = {name: value for name, value in claims.items() if value is not ...}
    return jwt.encode(given, private, algorithm, headers=headers)


def read(signed: str, keys: str = jwks(jwk(P256))) -> assertions.Assertion:
    return assertions.read(signed, assertions.public_keys(keys), "cl_1", frozenset({SERVER}), NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": [SERVER]},
        {"iat": ...},
        {"iat": int(NOW.timestamp()) + 59, "nbf": int(NOW.timestamp()) + 59},
        {"exp": int(NOW.timestamp()) + 1},
        {"exp": int(NOW.timestamp()) + 359, "iat": int(NOW.timestamp()) + 59},
        {"jti": "j" * 255},
        {"headers": {"typ": "client-authentication+jwt", "kid": "any"}},
    ],
)
def test_a_good_assertion_is_read(changes: dict[str, Any]) -> None:
    found = read(assertion(**changes))
    assert found.assertion_id == changes.get("jti", "one")
    assert NOW < found.ends_at <= NOW + timedelta(minutes=6)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(NOW.timestamp()) + 301},
        {"exp": int(NOW.timestamp()) + 301, "iat": ...},
        {"exp": int(NOW.timestamp()) + 361, "iat": int(NOW.timestamp()) + 60},
        {"exp": int(NOW.timestamp())},
        {"exp": ...},
        {"exp": 10**30},
        {"iat": int(NOW.timestamp()) + 61},
        {"nbf": int(NOW.timestamp()) + 61},
        {"aud": ...},
        {"aud": "https://elsewhere.test"},
        {"aud": [SERVER, "https://elsewhere.test"]},
        {"aud": []},
        {"aud": {"a": "b"}},
        {"iss": ...},
        {"iss": "cl_2"},
        {"sub": "cl_2"},
        {"jti": ...},
        {"jti": ""},
        {"jti": "j" * 256},
        {"jti": "a\0b"},
        {"private": OTHER},
    ],
)
def test_a_wrong_assertion_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        read(assertion(**changes))
    assert caught.value.detail == OAuthError(error="invalid_client")


def test_the_algorithm_is_the_keys_and_brought_keys_count_for_nothing() -> None:
    rsa_keys = jwks(jwk(RSA, "RSA"))
    assert read(assertion(RSA, "RS256"), rsa_keys).assertion_id == "one"
    assert read(assertion(RSA, "PS256"), rsa_keys).assertion_id == "one"
    for forged in (
        assertion(RSA, "RS384"),
        assertion("a secret of 32 bytes and more, yes", "HS256"),
        assertion(None, "none"),
        assertion(OTHER, headers={"jwk": jwk(OTHER)}),
        assertion(OTHER, headers={"jku": "https://elsewhere.test/jwks", "kid": "x"}),
        "a.b.c",
        "",
    ):
        for keys in (rsa_keys, jwks(jwk(P256))):
            with pytest.raises(Refused):
                read(forged, keys)


def test_of_several_keys_the_named_one_counts() -> None:
    keys = jwks(jwk(OTHER, kid="old"), jwk(P256, kid="new"))
    assert read(assertion(headers={"kid": "new"}), keys).assertion_id == "one"
    assert read(assertion(), keys).assertion_id == "one"
    with pytest.raises(Refused):
        read(assertion(headers={"kid": "old"}), keys)


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"keys": {}}',
        jwks(),
        jwks(*(jwk(P256) for _ in range(11))),
        '{"keys": [1]}',
        '{"keys": [{}]}',
        jwks({"kty": "oct", "k": "c2VjcmV0"}),
        jwks({**jwk(P256), "crv": "P-384"}),
        jwks({**jwk(P256), "x": "AA"}),
        jwks(jwt.algorithms.ECAlgorithm.to_jwk(P256, as_dict=True)),
        jwks(jwk(rsa.generate_private_key(65537, 1024), "RSA")),  # noqa: S505 - to be refused
        jwks({"kty": "OKP", "crv": "X25519", "x": "A" * 43}),
        "[" * 19_000,
    ],
)
async def test_what_is_no_set_of_public_keys_is_refused(sent: str) -> None:
    with pytest.raises(Refused, match="jwks"):
        assertions.public_keys(sent)


async def client(identity: Running, *keys: dict[str, Any]) -> str:
    wanted = pb.CreateClientRequest(
        program_id="acme", name="signs", scopes=["points:read", SCOPE], plan_id="standard", jwks=jwks(*keys)
    )
    answer = await identity.operate("CreateClient", wanted)
    assert not answer.HasField("client_secret")
    return str(answer.client_id)


def form(client_id: str, private: Any = P256, algorithm: str = "ES256", **changes: Any) -> tokens_pb2.IssueTokenRequest:
    signed = changes.pop("signed", None) or assertion(
        private, algorithm, iss=client_id, sub=client_id, **{"at": datetime.now(UTC), **changes}
    )
    fields = {
        "grant_type": "client_credentials",
        "client_assertion_type": assertions.TYPE,
        "client_assertion": signed,
    }
    body = HttpBody(content_type="application/x-www-form-urlencoded", data=urlencode(fields).encode())
    return tokens_pb2.IssueTokenRequest(form=body)


async def test_an_assertion_is_good_once_in_all_processes_and_after_a_restart(
    identity: Running, authority: Authority
) -> None:
    client_id = await client(identity, jwk(P256))
    asked = form(client_id)
    async with running(identity.url, authority, Clocks(identity.clocks.now)) as other:
        ended = await outcomes(*(one.tokens().IssueToken(asked) for one in (identity, other) for _ in range(10)))
    assert sum(isinstance(one, tokens_pb2.IssueTokenResponse) for one in ended) == 1
    async with running(identity.url, authority, Clocks(identity.clocks.now)) as restarted:
        refused = await refusal(restarted.tokens().IssueToken(asked))
        assert refused.detail == OAuthError(error="invalid_client")
        assert refused.code.name == "INVALID_ARGUMENT"  # 400: it was a good one
        assert (await restarted.tokens().IssueToken(form(client_id, jti="two"))).access_token


async def test_what_was_used_is_forgotten_long_after_its_end(identity: Running) -> None:
    client_id = await client(identity, jwk(P256))
    await identity.tokens().IssueToken(form(client_id))
    sweep = worker(identity.service, "oauth.sweep")
    assert await sweep() == 0
    earlier = text("DELETE FROM used_assertions")
    ago = text(
        "INSERT INTO used_assertions"
        " SELECT program_id, credential_id, 'old', now() - interval '2 days' FROM credentials"
    )
    for statement in (earlier, ago):
        await identity.db.transact(lambda tx, statement=statement: tx.execute(statement))  # type: ignore[misc]
    assert await sweep() == 1


async def test_new_keys_end_the_tokens_of_before_and_the_old_keys(identity: Running) -> None:
    client_id = await client(identity, jwk(P256))
    first = await identity.tokens().IssueToken(form(client_id))
    old = {"authorization": f"Bearer {first.access_token}", **REST}
    assert await passed([identity], old) == 1

    async def rotate(**fields: Any) -> Any:
        request = access_pb2.RotateCredentialsRequest(client_id=client_id, **fields)
        return await identity.call(AccessServiceStub, "RotateCredentials", request, caller(client_id))

    for wrong in ({}, {"jwks": jwks(jwk(OTHER)), "overlap_s": 60}, {"jwks": "{}"}):
        assert await reason(rotate(**wrong)) == "INVALID_REQUEST"
    answer = await rotate(jwks=jwks(jwk(OTHER)))
    assert not answer.HasField("client_secret")
    assert await passed([identity], old, TRIALS) == 0
    assert (await refusal(identity.tokens().IssueToken(form(client_id, jti="two")))).detail == OAuthError(
        error="invalid_client"
    )
    assert (await identity.tokens().IssueToken(form(client_id, OTHER, jti="three"))).access_token


async def test_a_client_proves_itself_in_its_own_way_only(identity: Running) -> None:
    signing, secret = await client(identity, jwk(P256)), await identity.client("points:read")
    wrong = [form(secret.client_id), form("cl_unknown"), form(signing, OTHER), form(signing, signed="a.b.c")]
    for asked in wrong:
        assert (await refusal(identity.tokens().IssueToken(asked))).detail == OAuthError(error="invalid_client")
    both = form(signing)
    both.form.data += b"&client_secret=x"
    assert (await refusal(identity.tokens().IssueToken(both))).detail == OAuthError(error="invalid_request")
    untyped = form(signing)
    untyped.form.data = untyped.form.data.replace(b"jwt-bearer", b"saml2-bearer")
    assert (await refusal(identity.tokens().IssueToken(untyped))).detail == OAuthError(error="invalid_request")
    named = form(signing)
    named.form.data += b"&client_id=cl_other"
    assert (await refusal(identity.tokens().IssueToken(named))).detail == OAuthError(error="invalid_request")
    revoke = pb.RevokeAccessRequest(program_id="acme", credential_id=signing)
    await identity.operate("RevokeAccess", revoke)
    assert (await refusal(identity.tokens().IssueToken(form(signing, jti="later")))).detail == OAuthError(
        error="invalid_client"
    )


async def test_all_kinds_of_keys_work(identity: Running) -> None:
    edwards = ed25519.Ed25519PrivateKey.generate()
    for private, kty, algorithm in ((edwards, "OKP", "EdDSA"), (RSA, "RSA", "RS256"), (RSA, "RSA", "PS256")):
        client_id = await client(identity, jwk(private, kty))
        assert (await identity.tokens().IssueToken(form(client_id, private, algorithm))).access_token
