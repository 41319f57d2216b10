"""The token endpoint: RFC 6749's answers, RFC 9068's tokens, and the same token for half an hour."""

import asyncio
import base64
from urllib.parse import urlencode

import grpc
import jwt
import pytest
from google.api.httpbody_pb2 import HttpBody
from rewards.errors.v1.errors_pb2 import OAuthError
from rewards.identity.v1 import credentials_pb2, tokens_pb2
from sqlalchemy import func, select, text, update

from devmesh.pki import Authority
from identity_svc import tables
from identity_svc.tests.running import Clocks, Running, refusal, running, worker

FORM = "application/x-www-form-urlencoded"
SCOPES = ("members:read", "points:read")


def body(client: credentials_pb2.CreateClientResponse, **changes: str) -> tokens_pb2.IssueTokenRequest:
    fields = {
        "grant_type": "client_credentials",
        "client_id": client.client_id,
        "client_secret": client.client_secret,
        **changes,
    }
    form = HttpBody(content_type=FORM, data=urlencode({k: v for k, v in fields.items() if v}).encode())
    return tokens_pb2.IssueTokenRequest(form=form)


@pytest.fixture
async def client(identity: Running) -> credentials_pb2.CreateClientResponse:
    return await identity.client(*SCOPES)


async def test_a_token_is_a_jwt_of_rfc_9068(identity: Running, client: credentials_pb2.CreateClientResponse) -> None:
    call = identity.tokens().IssueToken(body(client))
    answer = await call
    assert (answer.token_type, answer.expires_in, answer.scope) == ("Bearer", 1800, "members:read points:read")
    sent = dict(await call.initial_metadata())
    assert (sent["cache-control"], sent["pragma"]) == ("no-store", "no-cache")
    header = jwt.get_unverified_header(answer.access_token)
    assert header.keys() == {"typ", "alg", "kid"}
    assert (header["typ"], header["alg"]) == ("at+jwt", "EdDSA")
    claims = jwt.decode(answer.access_token, options={"verify_signature": False})
    issued_at = int(identity.clocks.now.timestamp())
    assert claims.pop("jti")
    assert claims == {
        "iss": "https://api.example.test",
        "aud": "https://api.example.test/v1",
        "sub": client.client_id,
        "client_id": client.client_id,
        "iat": issued_at,
        "exp": issued_at + 1800,
        "scope": "members:read points:read",
        "program": "acme",
        "epoch": 1,
    }


async def test_the_same_token_comes_back_until_300_s_are_left(
    identity: Running, client: credentials_pb2.CreateClientResponse
) -> None:
    first = await identity.tokens().IssueToken(body(client))
    identity.clocks.pass_s(1499)
    again = await identity.tokens().IssueToken(body(client))
    assert (again.access_token, again.expires_in) == (first.access_token, 301)
    identity.clocks.pass_s(1)
    fresh = await identity.tokens().IssueToken(body(client))
    assert fresh.access_token != first.access_token
    assert fresh.expires_in == 1800


async def test_another_process_gives_the_same_token_and_many_at_once_give_one(
    identity: Running, client: credentials_pb2.CreateClientResponse, authority: Authority
) -> None:
    async with running(identity.url, authority, Clocks(identity.clocks.now)) as other:
        calls = [one.tokens().IssueToken(body(client)) for one in (identity, other) for _ in range(10)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
    # A process that has just not found the other's new key says so and is asked again.
    tokens = {answer.access_token for answer in answers if not isinstance(answer, BaseException)}
    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert len(tokens) == 1
    assert all(error.code() is grpc.StatusCode.UNAVAILABLE for error in refused)


async def test_a_rotation_gives_a_new_token(identity: Running, client: credentials_pb2.CreateClientResponse) -> None:
    first = await identity.tokens().IssueToken(body(client))
    await identity.db.transact(lambda tx: tx.execute(update(tables.credentials).values(epoch=2)))
    fresh = await identity.tokens().IssueToken(body(client))
    assert fresh.access_token != first.access_token
    assert jwt.decode(fresh.access_token, options={"verify_signature": False})["epoch"] == 2


async def test_tokens_follow_a_sandbox_programs_clock(
    identity: Running, client: credentials_pb2.CreateClientResponse
) -> None:
    first = await identity.tokens().IssueToken(body(client))
    for offset_s in (3600, 0):
        moved = update(tables.programs).values(clock_offset_s=offset_s)
        await identity.db.transact(lambda tx, moved=moved: tx.execute(moved))  # type: ignore[misc]
        answer = await identity.tokens().IssueToken(body(client))
        assert answer.access_token != first.access_token
        assert answer.expires_in == 1800
        first = answer


async def test_scope_narrows(identity: Running, client: credentials_pb2.CreateClientResponse) -> None:
    answer = await identity.tokens().IssueToken(body(client, scope="points:read"))
    assert answer.scope == "points:read"
    refused = await refusal(identity.tokens().IssueToken(body(client, scope="points:read points:write")))
    assert refused.detail == OAuthError(error="invalid_scope")


async def test_http_basic_works(identity: Running, client: credentials_pb2.CreateClientResponse) -> None:
    credentials = base64.b64encode(f"{client.client_id}:{client.client_secret}".encode()).decode()
    request = tokens_pb2.IssueTokenRequest(form=HttpBody(content_type=FORM, data=b"grant_type=client_credentials"))
    answer = await identity.tokens().IssueToken(request, metadata=(("authorization", f"Basic {credentials}"),))
    assert answer.access_token


async def test_nobody_can_tell_an_unknown_client_from_a_wrong_secret(
    identity: Running, client: credentials_pb2.CreateClientResponse
) -> None:
    key = await identity.api_key("points:read")
    seen = set()
    for wrong in (
        body(client, client_secret="cs_wrong"),
        body(client, client_id="cl_unknown"),
        body(client, client_id="'; DROP TABLE credentials"),
        # An API key is no client, also with its right secret.
        body(client, client_id=key.key_id, client_secret=key.api_key),
    ):
        call = identity.tokens().IssueToken(wrong)
        refused = await refusal(call)
        headers = dict(await call.initial_metadata())
        assert headers["www-authenticate"].startswith("Basic ")
        assert headers["cache-control"] == "no-store"
        seen.add((refused.reason, refused.message, refused.detail.SerializeToString() if refused.detail else b""))
    assert len(seen) == 1


async def test_a_revoked_client_gets_no_token(identity: Running, client: credentials_pb2.CreateClientResponse) -> None:
    await identity.tokens().IssueToken(body(client))
    await identity.db.transact(lambda tx: tx.execute(update(tables.credentials).values(revoked_at=func.now())))
    assert (await refusal(identity.tokens().IssueToken(body(client)))).detail == OAuthError(error="invalid_client")


async def test_no_token_is_in_the_database_and_old_rows_go(
    identity: Running, client: credentials_pb2.CreateClientResponse
) -> None:
    answer = await identity.tokens().IssueToken(body(client))
    async with identity.db.read() as tx:
        dump = ""
        for table in tables.metadata.sorted_tables:
            dump += str((await tx.execute(select(table))).all())
    assert answer.access_token not in dump
    assert answer.access_token.rpartition(".")[2] not in dump
    assert await worker(identity.service, "tokens.sweep")() == 0
    await identity.db.transact(
        lambda tx: tx.execute(text("UPDATE tokens SET expires_at = now() - interval '25 hours'"))
    )
    assert await worker(identity.service, "tokens.sweep")() == 1
