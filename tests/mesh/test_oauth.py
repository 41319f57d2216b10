"""A client and a JWT library that are not ours complete OAuth against the live mesh: authlib and joserfc."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import httpx2
import pytest
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oauth2.rfc9068.claims import JWTAccessTokenClaims
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from rewards.identity.v1 import credentials_pb2 as pb

from devmesh.mesh import Mesh
from devmesh.seed import FIRST
from tests.mesh.conftest import Api
from tests.mesh.holders import holder
from tests.mesh.operators import Operator

# EdDSA is what RFC 8037 calls it and every library knows; RFC 9864 would have it called Ed25519.
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
KEYS: dict[str, Callable[[], Any]] = {
    "ES256": lambda: ECKey.generate_key("P-256"),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519"),
    "RS256": lambda: RSAKey.generate_key(2048),
    "PS256": lambda: RSAKey.generate_key(2048),
}
METHODS = {"client_secret_basic", "client_secret_post", "private_key_jwt"}
Session = Callable[..., Awaitable[AsyncOAuth2Client]]


@pytest.fixture
async def metadata(mesh: Mesh) -> AuthorizationServerMetadata:
    async with httpx2.AsyncClient() as client:
        answer = await client.get(f"{mesh.url}/.well-known/oauth-authorization-server")
    assert answer.headers["content-type"] == "application/json"
    found = AuthorizationServerMetadata(answer.raise_for_status().json())
    found.validate()
    assert found["issuer"] == mesh.url
    assert found["grant_types_supported"] == ["client_credentials"]
    for endpoint in ("token", "introspection", "revocation"):
        assert found[f"{endpoint}_endpoint"].startswith(f"{mesh.url}/oauth/")
        assert set(found[f"{endpoint}_endpoint_auth_methods_supported"]) == METHODS
    return found


@pytest.fixture
async def session(metadata: AuthorizationServerMetadata) -> AsyncIterator[Session]:
    """Makes sessions of a client with this secret or key, which authenticates this way."""
    made: list[AsyncOAuth2Client] = []

    async def make(client_id: str, secret: Any, method: str = "client_secret_basic") -> AsyncOAuth2Client:
        assert method in metadata["token_endpoint_auth_methods_supported"]
        made.append(
            AsyncOAuth2Client(
                client_id,
                secret,
                token_endpoint=metadata["token_endpoint"],
                token_endpoint_auth_method=method,
                revocation_endpoint_auth_method=method,
            )
        )
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


def signing(one: AsyncOAuth2Client, algorithm: str, endpoint: str, **claims: Any) -> AsyncOAuth2Client:
    """The session, which signs its next request with these claims; ours take an exp of five minutes at most."""
    claims = {"exp": int(time.time()) + 240, **claims}
    one.register_client_auth_method(PrivateKeyJWT(endpoint, claims=claims, alg=algorithm))
    return one


async def keys(metadata: AuthorizationServerMetadata) -> KeySet:
    async with httpx2.AsyncClient() as client:
        return KeySet.import_key_set((await client.get(metadata["jwks_uri"])).raise_for_status().json())


async def verified(metadata: AuthorizationServerMetadata, access_token: str) -> jwt.Token:
    """The token as a resource server of RFC 9068 reads it: type, signature, and each claim of its section 2.2."""
    token = jwt.decode(access_token, await keys(metadata), algorithms=["EdDSA"])
    assert token.header["typ"] == "at+jwt"
    options = {
        "iss": {"essential": True, "value": metadata["issuer"]},
        "aud": {"essential": True, "value": f"{metadata['issuer']}/v1"},
        **{name: {"essential": True} for name in ("exp", "iat", "sub", "jti", "client_id")},
    }
    JWTAccessTokenClaims(token.claims, token.header, options).validate()
    assert token.claims["iat"] < token.claims["exp"] <= token.claims["iat"] + 1800
    return token


async def codes(http: aiohttp.ClientSession, credential: str, trials: int = 1) -> set[int]:
    """The ErrorCodes of so many calls at once."""
    calls = (Api(http, credential).post("GetBalance", {"memberId": "m_zero"}) for _ in range(trials))
    return {answer.code for answer in await asyncio.gather(*calls)}


async def refused(http: aiohttp.ClientSession, credential: str) -> None:
    """Not one of a hundred calls at once passes. A busy gatekeeper may refuse without having looked."""
    assert {2001} <= await codes(http, credential, 100) <= {2001, 9002}


async def ask(one: AsyncOAuth2Client, metadata: AuthorizationServerMetadata, token: str) -> dict[str, Any]:
    answer = await one.introspect_token(metadata["introspection_endpoint"], token)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_token_from_its_issue_to_its_revocation(
    session: Session,
    metadata: AuthorizationServerMetadata,
    operator: Operator,
    method: str,
    http: aiohttp.ClientSession,
) -> None:
    client = await operator.client()
    one = await session(client.client_id, client.client_secret, method)
    granted = await one.fetch_token(grant_type="client_credentials", scope="points:read")
    assert granted["token_type"] == "Bearer"
    claims = (await verified(metadata, granted["access_token"])).claims
    assert (claims["client_id"], claims["sub"], claims["scope"]) == (client.client_id, client.client_id, "points:read")
    said = await ask(one, metadata, granted["access_token"])
    assert said.pop("token_type") == "Bearer"
    assert said.pop("active") is True
    assert said == {name: claims[name] for name in said}
    assert said.keys() == {"scope", "client_id", "exp", "iat", "sub", "aud", "iss", "jti"}
    assert granted["expires_in"] == claims["exp"] - claims["iat"] == 1800
    assert await codes(http, granted["access_token"]) == {0}
    revoked = await one.revoke_token(metadata["revocation_endpoint"], granted["access_token"])
    assert revoked.status_code == 200
    await refused(http, granted["access_token"])
    assert await ask(one, metadata, granted["access_token"]) == {"active": False}
    again = await one.revoke_token(metadata["revocation_endpoint"], granted["access_token"])
    assert again.status_code == 200
    fresh = await one.fetch_token(grant_type="client_credentials", scope="points:read")
    assert (await verified(metadata, fresh["access_token"])).claims["jti"] != claims["jti"]
    assert await codes(http, fresh["access_token"]) == {0}


async def test_a_members_token_is_one_of_the_same_kind(
    metadata: AuthorizationServerMetadata, operator: Operator, mesh: Mesh, http: aiohttp.ClientSession
) -> None:
    one = await holder(operator, http, mesh.url, program_id=FIRST)
    shown = await one.shown()
    claims = (await verified(metadata, shown.credentials["member's by secret's token"])).claims
    assert (claims["client_id"], claims["sub"], claims["scope"]) == (one.client.client_id, shown.member_id, "")


@pytest.mark.parametrize("algorithm", sorted(KEYS))
async def test_a_client_signs_its_own_assertions(
    session: Session,
    metadata: AuthorizationServerMetadata,
    operator: Operator,
    algorithm: str,
    http: aiohttp.ClientSession,
) -> None:
    assert algorithm in metadata["token_endpoint_auth_signing_alg_values_supported"]
    key = KEYS[algorithm]()
    client_id = await with_keys(operator, key)
    one = signing(await session(client_id, key, "private_key_jwt"), algorithm, metadata["token_endpoint"])
    granted = await one.fetch_token(grant_type="client_credentials")
    claims = (await verified(metadata, granted["access_token"])).claims
    assert (claims["client_id"], claims["sub"], claims["scope"]) == (client_id, client_id, "points:read")
    assert await codes(http, granted["access_token"]) == {0}
    # The library would show the same assertion again.
    with pytest.raises(OAuthError, match="invalid_client"):
        await one.fetch_token(grant_type="client_credentials")
    signing(one, algorithm, metadata["introspection_endpoint"])
    assert (await ask(one, metadata, granted["access_token"]))["active"] is True
    signing(one, algorithm, metadata["issuer"])
    assert (await one.revoke_token(metadata["revocation_endpoint"], granted["access_token"])).status_code == 200
    assert await codes(http, granted["access_token"]) == {2001}


async def test_what_is_wrong_with_an_assertion(
    session: Session, metadata: AuthorizationServerMetadata, operator: Operator
) -> None:
    key, other = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
    client_id = await with_keys(operator, key)
    now = int(time.time())
    for claims in (
        {"exp": now + 3600},
        {"exp": now - 1},
        {"iss": "cl_other"},
        {"sub": "cl_other"},
        {"aud": "https://elsewhere.test"},
    ):
        one = signing(await session(client_id, key, "private_key_jwt"), "ES256", metadata["token_endpoint"], **claims)
        with pytest.raises(OAuthError, match="invalid_client"):
            await one.fetch_token(grant_type="client_credentials")
    one = signing(await session(client_id, other, "private_key_jwt"), "ES256", metadata["token_endpoint"])
    with pytest.raises(OAuthError, match="invalid_client"):
        await one.fetch_token(grant_type="client_credentials")


async def test_errors_are_those_of_the_rfcs(
    session: Session, metadata: AuthorizationServerMetadata, operator: Operator
) -> None:
    client, stranger = [await operator.client() for _ in range(2)]
    one, two = [await session(some.client_id, some.client_secret) for some in (client, stranger)]
    with pytest.raises(OAuthError, match="invalid_scope"):
        await one.fetch_token(grant_type="client_credentials", scope="everything")
    with pytest.raises(OAuthError, match="unsupported_grant_type"):
        await one.fetch_token(grant_type="password", username="a", password="b")
    wrong = await session(client.client_id, "cs_wrong")
    with pytest.raises(OAuthError, match="invalid_client"):
        await wrong.fetch_token(grant_type="client_credentials")
    granted = await one.fetch_token(grant_type="client_credentials")
    assert await ask(two, metadata, granted["access_token"]) == {"active": False}
    foreign = await two.revoke_token(metadata["revocation_endpoint"], granted["access_token"])
    assert (foreign.status_code, foreign.json()["error"]) == (400, "invalid_grant")
    assert (await ask(one, metadata, granted["access_token"]))["active"] is True
    for nonsense in ("a.b.c", "rk_test_x", granted["access_token"][:-4] + "AAAA"):
        assert await ask(one, metadata, nonsense) == {"active": False}
        assert (await one.revoke_token(metadata["revocation_endpoint"], nonsense)).status_code == 200
    async with httpx2.AsyncClient() as bare:
        for endpoint in (metadata["revocation_endpoint"], metadata["introspection_endpoint"]):
            answer = await bare.post(endpoint, data={"token": granted["access_token"]})
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
            assert answer.headers["www-authenticate"].startswith("Basic ")
            both = {"token": "x", "client_secret": client.client_secret}
            answer = await bare.post(endpoint, data=both, auth=(client.client_id, client.client_secret))
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/Auth/Token", "/oauth/introspect", "/oauth/revoke"])
async def test_no_answer_tells_whether_there_is_such_a_client(
    operator: Operator, http: aiohttp.ClientSession, path: str
) -> None:
    live, ended = [await operator.client() for _ in range(2)]
    await operator.call("RevokeAccess", pb.RevokeAccessRequest(program_id=FIRST, credential_id=ended.client_id))
    shown = [(live.client_id, "cs_wrong"), (ended.client_id, ended.client_secret), ("cl_nobody", "cs_wrong")]
    told = []
    for client_id, secret in shown:
        form = {"grant_type": "client_credentials", "token": "x", "client_id": client_id, "client_secret": secret}
        async with http.post(path, data=form) as answer:
            told.append((answer.status, await answer.json(), set(answer.headers)))
    assert told[0][0] == 401
    assert told == [told[0]] * len(shown)


async def test_a_new_signing_key_is_published_before_it_signs_and_ends_the_old_ones_where_asked(
    session: Session, metadata: AuthorizationServerMetadata, operator: Operator, http: aiohttp.ClientSession
) -> None:
    client = await operator.client()
    one = await session(client.client_id, client.client_secret)
    granted = await one.fetch_token(grant_type="client_credentials")
    old = (await verified(metadata, granted["access_token"])).header["kid"]
    made = await operator.call("RotateSigningKey", pb.RotateSigningKeyRequest())
    assert {key.kid for key in (await keys(metadata)).keys} >= {made.key_id, old}
    assert (await one.fetch_token(grant_type="client_credentials"))["access_token"] == granted["access_token"]
    urgent = await operator.call("RotateSigningKey", pb.RotateSigningKeyRequest(revoke_earlier=True))
    await refused(http, granted["access_token"])
    assert [key.kid for key in (await keys(metadata)).keys] == [urgent.key_id]
    fresh = await one.fetch_token(grant_type="client_credentials")
    assert (await verified(metadata, fresh["access_token"])).header["kid"] == urgent.key_id
    assert await codes(http, fresh["access_token"]) == {0}


async def with_keys(operator: Operator, key: Any) -> str:
    """A client of which the mesh knows the public key alone."""
    jwks = KeySet([key]).as_dict(private=False)
    made = await operator.client(scopes=["points:read"], jwks=json.dumps(jwks))
    assert not made.HasField("client_secret")
    return str(made.client_id)
