"""Signing keys: published before they sign, verifying on after they are replaced, or ended at once."""

import asyncio
from collections.abc import AsyncIterator

import jwt
import pytest
from rewards.identity.v1 import credentials_pb2 as pb
from rewards.identity.v1 import tokens_pb2
from sqlalchemy import event, text

from devmesh.pki import Authority
from identity_svc.tests.running import Running, outcomes, running, worker
from identity_svc.tests.test_gatekeeper import BALANCE, REST
from identity_svc.tests.test_revocation import TRIALS, passed
from identity_svc.tests.test_tokens import body
from identity_svc.tests.verdicts import denied

Client = pb.CreateClientResponse


@pytest.fixture
async def pair(identity: Running, authority: Authority) -> AsyncIterator[list[Running]]:
    async with running(identity.url, authority, identity.clocks) as other:
        yield [identity, other]


async def rotate(identity: Running, *, revoke_earlier: bool = False) -> str:
    answer = await identity.operate("RotateSigningKey", pb.RotateSigningKeyRequest(revoke_earlier=revoke_earlier))
    return str(answer.key_id)


async def issue(identity: Running, client: Client) -> str:
    return str((await identity.tokens().IssueToken(body(client))).access_token)


async def published(identity: Running) -> list[str]:
    answer = await identity.tokens().GetSigningKeys(tokens_pb2.GetSigningKeysRequest())
    return [key.kid for key in answer.keys]


def kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def age(identity: Running, interval: str) -> None:
    """Lets so much time pass for the signing keys."""
    older = text(
        "UPDATE signing_keys SET created_at = created_at - CAST(:by AS interval),"
        " retired_at = retired_at - CAST(:by AS interval)"
    )
    await identity.db.transact(lambda tx: tx.execute(older, {"by": interval}))
    identity.clocks.pass_s(1)


async def test_a_new_key_is_published_at_once_and_signs_when_all_have_read_it(pair: list[Running]) -> None:
    identity, other = pair
    client, later = await identity.client("points:read"), await identity.client("points:read")
    first = await issue(identity, client)
    new = await rotate(identity)
    for one in pair:
        assert await published(one) == [new, kid(first)]
    assert kid(await issue(other, later)) == kid(first)
    await age(identity, "61 seconds")
    assert kid(await issue(other, await identity.client("points:read"))) == new
    # What the client has is good to its end, and so comes back.
    assert await issue(other, client) == first
    assert await passed(pair, {"authorization": f"Bearer {first}", **REST}) == 2
    await age(identity, "1 day")
    assert await published(other) == [new]


async def test_a_token_of_the_first_key_is_good_where_there_was_none_a_moment_ago(pair: list[Running]) -> None:
    identity, other = pair
    assert await worker(other.service, "signing.rotate")() == 0  # reads that there is no key
    token = await issue(identity, await identity.client("points:read"))
    assert await passed(pair, {"authorization": f"Bearer {token}", **REST}) == 2


async def test_keys_that_end_at_once_take_their_tokens_with_them(pair: list[Running]) -> None:
    identity, other = pair
    client = await identity.client("points:read")
    first = {"authorization": f"Bearer {await issue(identity, client)}", **REST}
    assert await passed(pair, first) == 2
    new = await rotate(identity, revoke_earlier=True)
    assert await passed(pair, first, TRIALS) == 0
    fresh = await issue(other, client)
    assert kid(fresh) == new
    assert await passed(pair, {"authorization": f"Bearer {fresh}", **REST}) == 2
    assert await published(other) == [new]
    # A later quiet rotation gives no ended key back.
    await rotate(identity)
    assert await passed(pair, first) == 0


async def test_rotations_at_once_make_a_key_each_or_say_so(identity: Running) -> None:
    await issue(identity, await identity.client("points:read"))
    asked = (identity.operate("RotateSigningKey", pb.RotateSigningKeyRequest()) for _ in range(5))
    made = await outcomes(*asked)
    kids = {one.key_id for one in made if isinstance(one, pb.RotateSigningKeyResponse)}
    assert kids
    assert len(await published(identity)) == 1 + len(kids)
    assert {one for one in made if isinstance(one, str)} <= {"CONFLICT"}


async def test_the_worker_rotates_once_a_month(pair: list[Running]) -> None:
    identity = pair[0]
    await issue(identity, await identity.client("points:read"))
    rotate_if_old = worker(identity.service, "signing.rotate")
    assert await rotate_if_old() == 0
    await age(identity, "31 days")
    await asyncio.gather(*(worker(one.service, "signing.rotate")() for one in pair))
    identity.clocks.pass_s(1)
    assert len(await published(identity)) == 2
    assert await rotate_if_old() == 0


async def test_the_keys_are_asked_for_once_in_half_a_second(identity: Running) -> None:
    token = {"authorization": f"Bearer {await issue(identity, await identity.client('points:read'))}", **REST}
    assert await passed([identity], token, 1) == 1  # a part of the quota is in hand
    statements: list[str] = []
    engine = identity.gate_db._engine.sync_engine

    def count(*args: object) -> None:
        statements.append(str(args[2]))

    event.listen(engine, "before_cursor_execute", count)
    for _ in range(2):
        identity.clocks.pass_s(0.51)
        for _ in range(3):
            assert await passed([identity], token, 3) == 3
    event.remove(engine, "before_cursor_execute", count)
    assert sum("signing_keys" in statement for statement in statements) == 2
    assert len(statements) == 4


async def test_without_the_database_no_token_gets_through(identity: Running) -> None:
    token = {"authorization": f"Bearer {await issue(identity, await identity.client('points:read'))}", **REST}
    assert await passed([identity], token) == 1
    identity.clocks.pass_s(1)
    # Every connection of the pool is taken, so the keys are not read in time.
    taken = [await identity.gate_db._engine.connect() for _ in range(2)]
    with pytest.MonkeyPatch.context() as impatient:
        impatient.setattr("identity_svc.credentials.signing.WAIT_S", 0.1)
        answer = await identity.check(BALANCE, token)
    for connection in taken:
        await connection.close()
    assert denied(answer) == (503, "UNAVAILABLE")
    assert await passed([identity], token) == 1
