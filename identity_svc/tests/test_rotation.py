"""Rotation: a new secret, and from the acknowledgement on neither the old one nor any token of before."""

import asyncio
from datetime import UTC

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from rewards.errors.v1.errors_pb2 import OAuthError
from rewards.identity.v1 import access_pb2 as pb
from rewards.identity.v1 import credentials_pb2, programs_pb2
from rewards.identity.v1.access_pb2_grpc import AccessServiceStub
from sqlalchemy import func, select, text, update

from devmesh.pki import Authority
from identity_svc import tables
from identity_svc.credentials import keys
from identity_svc.credentials.keys import Hasher
from identity_svc.credentials.servicer import create_operator
from identity_svc.tests.running import PEPPER, PROGRAM, Running, outcomes, reason, refusal, running, worker
from identity_svc.tests.test_gatekeeper import REST
from identity_svc.tests.test_revocation import TRIALS, add_partner, passed
from identity_svc.tests.test_tokens import body
from svckit.call import Kind, Principal

SCOPE = "credentials:write"
Client = credentials_pb2.CreateClientResponse


def caller(credential_id: str, *scopes: str) -> Principal:
    return Principal(Kind.PARTNER, credential_id, "acme", frozenset(scopes or (SCOPE,)))


async def rotate(
    identity: Running, client_id: str, by: str = "", *, key: str = "", overlap_s: int = 0
) -> pb.RotateCredentialsResponse:
    """Rotates a client, by itself if nobody else is named."""
    request = pb.RotateCredentialsRequest(client_id=client_id, overlap_s=overlap_s)
    answer: pb.RotateCredentialsResponse = await identity.call(
        AccessServiceStub, "RotateCredentials", request, caller(by or client_id), key
    )
    return answer


async def bearer(identity: Running, client: Client, secret: str = "") -> dict[str, str]:
    answer = await identity.tokens().IssueToken(body(client, client_secret=secret or client.client_secret))
    return {"authorization": f"Bearer {answer.access_token}", **REST}


async def opens(identity: Running, client: Client, secret: str) -> bool:
    (outcome,) = await outcomes(identity.tokens().IssueToken(body(client, client_secret=secret)))
    return outcome != "UNAUTHENTICATED"


async def test_from_the_acknowledgement_on_neither_the_old_secret_nor_an_old_token_is_good(
    identity: Running, authority: Authority
) -> None:
    client = await identity.client("points:read")
    old = await bearer(identity, client)
    async with running(identity.url, authority, identity.clocks) as other:
        pair = [identity, other]
        assert await passed(pair, old) == 2
        answer = await rotate(identity, client.client_id)
        assert await passed(pair, old, TRIALS) == 0
        refused = await refusal(other.tokens().IssueToken(body(client)))
        assert refused.detail == OAuthError(error="invalid_client")
        fresh = await bearer(other, client, answer.client_secret)
        assert await passed(pair, fresh) == 2
    assert answer.client_id == client.client_id
    assert answer.client_secret.startswith("cs_")
    # Within the test's own clock, that the wait has moved on since.
    assert 0 < (identity.clocks.now - answer.rotated_at.ToDatetime(UTC)).total_seconds() < 2


async def test_an_overlap_keeps_both_until_it_ends_and_no_longer(identity: Running) -> None:
    client = await identity.client("points:read")
    old = await bearer(identity, client)
    answer = await rotate(identity, client.client_id, overlap_s=600)
    fresh = await bearer(identity, client, answer.client_secret)
    identity.clocks.pass_s(500)
    late = await identity.tokens().IssueToken(body(client))
    assert 0 < late.expires_in <= 100, "a token for the old secret lives no longer than that secret"
    by_late = {"authorization": f"Bearer {late.access_token}", **REST}
    for headers in (old, fresh, by_late):
        assert await passed([identity], headers) == 1
    identity.clocks.pass_s(101)
    for headers in (old, by_late):
        assert await passed([identity], headers, TRIALS) == 0
    assert not await opens(identity, client, client.client_secret or "")
    assert await passed([identity], fresh) == 1


async def test_an_overlap_follows_the_programs_clock(identity: Running) -> None:
    client = await identity.client("points:read")
    await rotate(identity, client.client_id, overlap_s=600)
    assert await opens(identity, client, client.client_secret or "")
    await identity.db.transact(lambda tx: tx.execute(update(tables.programs).values(clock_offset_s=601)))
    assert not await opens(identity, client, client.client_secret or "")


@pytest.mark.parametrize("second_s", [0, 600])
async def test_a_second_rotation_ends_what_the_first_let_overlap(identity: Running, second_s: int) -> None:
    client = await identity.client("points:read")
    oldest = await bearer(identity, client)
    first = await rotate(identity, client.client_id, overlap_s=600)
    middle = await bearer(identity, client, first.client_secret)
    second = await rotate(identity, client.client_id, overlap_s=second_s)
    assert await passed([identity], oldest, TRIALS) == 0
    assert not await opens(identity, client, client.client_secret or "")
    assert await passed([identity], middle) == (1 if second_s else 0)
    assert await opens(identity, client, first.client_secret) == bool(second_s)
    assert await opens(identity, client, second.client_secret)


async def test_a_revocation_ends_an_overlap(identity: Running) -> None:
    client = await identity.client("points:read")
    old = await bearer(identity, client)
    await rotate(identity, client.client_id, overlap_s=600)
    await identity.operate("RevokeAccess", credentials_pb2.RevokeAccessRequest(program_id="acme"))
    await identity.operate("RestoreAccess", credentials_pb2.RestoreAccessRequest(program_id="acme"))
    identity.clocks.pass_s(1)
    assert await passed([identity], old, TRIALS) == 0
    assert not await opens(identity, client, client.client_secret or "")


async def test_a_replay_is_the_same_answer_for_whoever_reaches_the_client(identity: Running) -> None:
    await add_partner(identity, "north")
    await add_partner(identity, "south")
    client = await identity.client("points:read", SCOPE, partner_id="north")
    sibling = await identity.api_key(SCOPE, partner_id="north")
    whole, stranger = await identity.api_key(SCOPE), await identity.api_key(SCOPE, partner_id="south")
    first = await rotate(identity, client.client_id, key="one")
    for by in (sibling.key_id, whole.key_id, client.client_id):
        assert await rotate(identity, client.client_id, by, key="one") == first
    assert await reason(rotate(identity, client.client_id, stranger.key_id, key="one")) == "NOT_FOUND"
    assert await reason(rotate(identity, client.client_id, whole.key_id, key="one", overlap_s=1)) == (
        "IDEMPOTENCY_KEY_REUSED"
    )
    async with identity.db.read() as tx:
        rotations = select(func.count()).where(tables.audit.c.action == "credential.rotated")
        assert await tx.scalar(rotations) == 1
        await tx.execute(text("UPDATE idempotency_keys SET created_at = created_at - interval '16 minutes'"))
        await tx.commit()
    assert await worker(identity.service, "idempotency.wipe")() > 0
    later = await rotate(identity, client.client_id, whole.key_id, key="one")
    assert not later.HasField("client_secret")
    assert later.rotated_at == first.rotated_at != Timestamp()


async def test_a_replay_waits_as_well(identity: Running) -> None:
    """The first call may have ended between its commit and its acknowledgement."""
    client = await identity.client("points:read")
    old = await bearer(identity, client)
    await rotate(identity, client.client_id, key="one")
    before = identity.clocks.monotonic_s
    await rotate(identity, client.client_id, key="one")
    assert identity.clocks.monotonic_s - before > 0.5
    assert await passed([identity], old, TRIALS) == 0


async def test_rotations_at_once_leave_one_good_secret(identity: Running) -> None:
    client = await identity.client("points:read")
    answers = await asyncio.gather(*(rotate(identity, client.client_id, overlap_s=0) for _ in range(5)))
    good = [answer for answer in answers if await opens(identity, client, answer.client_secret)]
    assert len(good) == 1
    twins = await asyncio.gather(*(rotate(identity, client.client_id, key="one") for _ in range(5)))
    assert len({twin.client_secret for twin in twins}) == 1
    assert await opens(identity, client, twins[0].client_secret)


async def test_what_is_no_live_client_of_the_caller_is_not_found(identity: Running) -> None:
    client, key = await identity.client(SCOPE), await identity.api_key(SCOPE)
    for client_id in ("cl_unknown", key.key_id):
        assert await reason(rotate(identity, client_id, key.key_id)) == "NOT_FOUND"
    revoke = credentials_pb2.RevokeAccessRequest(program_id="acme", credential_id=client.client_id)
    await identity.operate("RevokeAccess", revoke)
    assert await reason(rotate(identity, client.client_id, key.key_id)) == "NOT_FOUND"
    narrow = identity.call(
        AccessServiceStub,
        "RotateCredentials",
        pb.RotateCredentialsRequest(client_id=client.client_id),
        caller(key.key_id, "points:read"),
    )
    assert await reason(narrow) == "PERMISSION_DENIED"
    for overlap_s in (-1, 86_401):
        assert await reason(rotate(identity, client.client_id, key.key_id, overlap_s=overlap_s)) == "INVALID_REQUEST"


async def test_another_programs_client_is_not_found(identity: Running) -> None:
    client = await identity.client(SCOPE)
    globex = programs_pb2.Program()
    globex.CopyFrom(PROGRAM)
    globex.program_id = "globex"
    await identity.operate("PutProgram", programs_pb2.PutProgramRequest(program=globex))
    wanted = credentials_pb2.CreateClientRequest(program_id="globex", name="x", scopes=[SCOPE], plan_id="standard")
    theirs = await identity.operate("CreateClient", wanted)
    stranger = Principal(Kind.PARTNER, theirs.client_id, "globex", frozenset({SCOPE}))
    request = pb.RotateCredentialsRequest(client_id=client.client_id)
    assert await reason(identity.call(AccessServiceStub, "RotateCredentials", request, stranger)) == "NOT_FOUND"
    assert await opens(identity, client, client.client_secret or "")


async def test_an_operator_rotates_for_whoever_has_lost_a_secret(identity: Running) -> None:
    client = await identity.client("points:read")
    key = await create_operator(identity.db, Hasher(PEPPER), "ops")
    operator = Principal(Kind.OPERATOR, keys.credential_id(key) or "")
    request = pb.RotateCredentialsRequest(client_id=client.client_id)
    answer = await identity.call(AccessServiceStub, "RotateCredentials", request, operator)
    assert await opens(identity, client, answer.client_secret)
    assert not await opens(identity, client, client.client_secret or "")
