"""What OAuth says of tokens is what a gatekeeper does with them; and how often a client may ask."""

import asyncio
from typing import Any
from urllib.parse import urlencode

import pytest
from google.api.httpbody_pb2 import HttpBody
from rewards.errors.v1.errors_pb2 import OAuthError
from rewards.identity.v1 import credentials_pb2 as pb
from rewards.identity.v1 import tokens_pb2
from sqlalchemy import select, update

from identity_svc import tables
from identity_svc.credentials.pace import Pace
from identity_svc.service import TOKENS_BURST, TOKENS_PER_S
from identity_svc.tests.running import Running, outcomes, reason, refusal
from identity_svc.tests.test_gatekeeper import REST
from identity_svc.tests.test_revocation import TRIALS, add_partner, passed
from identity_svc.tests.test_rotation import rotate
from identity_svc.tests.test_tokens import body
from svckit.errors import Refused

Client = pb.CreateClientResponse


def form(client: Client, token: str, **changes: str) -> HttpBody:
    fields = {"client_id": client.client_id, "client_secret": client.client_secret or "", "token": token, **changes}
    data = urlencode({name: value for name, value in fields.items() if value}).encode()
    return HttpBody(content_type="application/x-www-form-urlencoded", data=data)


async def introspect(identity: Running, client: Client, token: str, **changes: str) -> Any:
    return await identity.tokens().IntrospectToken(
        tokens_pb2.IntrospectTokenRequest(form=form(client, token, **changes))
    )


async def revoke(identity: Running, client: Client, token: str, **changes: str) -> Any:
    return await identity.tokens().RevokeToken(tokens_pb2.RevokeTokenRequest(form=form(client, token, **changes)))


async def issue(identity: Running, client: Client, secret: str = "") -> str:
    answer = await identity.tokens().IssueToken(body(client, client_secret=secret or client.client_secret or ""))
    return str(answer.access_token)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", **REST}


async def test_a_token_is_active_as_long_as_it_opens_anything(identity: Running) -> None:
    client = await identity.client("points:read")
    token = await issue(identity, client)
    said = await introspect(identity, client, token)
    assert (said.active, said.client_id, said.scope) == (True, client.client_id, "points:read")
    assert said.exp - said.iat == 1800
    identity.clocks.pass_s(1801)
    assert await introspect(identity, client, token) == tokens_pb2.IntrospectTokenResponse(active=False)


async def test_a_rotation_makes_it_inactive_and_an_overlap_keeps_it(identity: Running) -> None:
    client = await identity.client("points:read")
    token = await issue(identity, client)
    first = await rotate(identity, client.client_id, overlap_s=60)
    assert (await introspect(identity, client, token)).active
    identity.clocks.pass_s(61)
    assert await reason(introspect(identity, client, token)) == "UNAUTHENTICATED"
    assert not (await introspect(identity, client, token, client_secret=first.client_secret)).active


@pytest.mark.parametrize("level", ["program", "partner", "credential"])
async def test_whoever_is_revoked_is_told_nothing(identity: Running, level: str) -> None:
    await add_partner(identity, "north")
    client = await identity.client("points:read", partner_id="north")
    token = await issue(identity, client)
    request = pb.RevokeAccessRequest(program_id="acme")
    if level != "program":
        setattr(request, f"{level}_id", "north" if level == "partner" else client.client_id)
    await identity.operate("RevokeAccess", request)
    for ask in (introspect, revoke):
        assert (await refusal(ask(identity, client, token))).detail == OAuthError(error="invalid_client")


async def test_only_its_own_tokens_can_be_asked_about_and_revoked(identity: Running) -> None:
    client, sibling = await identity.client("points:read"), await identity.client("points:read")
    token = await issue(identity, client)
    assert await introspect(identity, sibling, token) == tokens_pb2.IntrospectTokenResponse(active=False)
    assert (await refusal(revoke(identity, sibling, token))).detail == OAuthError(error="invalid_grant")
    assert await passed([identity], bearer(token)) == 1
    assert (await refusal(revoke(identity, client, ""))).detail == OAuthError(error="invalid_request")


async def test_a_revoked_token_is_refused_and_never_given_again(identity: Running) -> None:
    client = await identity.client("points:read", "members:read")
    token = await issue(identity, client)
    narrow = (await identity.tokens().IssueToken(body(client, scope="points:read"))).access_token
    for one in (token, narrow):
        assert await passed([identity], bearer(one)) == 1
    await revoke(identity, client, token, token_type_hint="refresh_token")
    assert await passed([identity], bearer(token), TRIALS) == 0
    assert await passed([identity], bearer(narrow)) == 1
    assert not (await introspect(identity, client, token)).active
    fresh = await issue(identity, client)
    assert fresh != token
    assert await passed([identity], bearer(fresh)) == 1
    for nonsense in (token, "a.b.c", "rk_test_x", "x" * 5000):
        assert await revoke(identity, client, nonsense) == tokens_pb2.RevokeTokenResponse()
    async with identity.db.read() as tx:
        actions = (await tx.execute(select(tables.audit.c.actor).where(tables.audit.c.action == "token.revoked"))).all()
    assert [row.actor for row in actions] == [client.client_id]


async def test_revocation_follows_the_programs_clock(identity: Running) -> None:
    await identity.db.transact(lambda tx: tx.execute(update(tables.programs).values(clock_offset_s=86_400)))
    client = await identity.client("points:read")
    token = await issue(identity, client)
    assert (await introspect(identity, client, token)).active
    await revoke(identity, client, token)
    assert await passed([identity], bearer(token), TRIALS) == 0
    async with identity.db.read() as tx:
        ends_at = await tx.scalar(select(tables.revoked_tokens.c.ends_at))
    assert ends_at is not None
    assert abs((ends_at - identity.clocks.now).total_seconds() - 1800) < 10


def test_a_clients_share_is_its_burst_and_then_its_rate() -> None:
    now_s = 50.0
    shares = Pace(lambda: now_s, per_second=TOKENS_PER_S, burst=TOKENS_BURST)

    def allowed(client_id: str) -> int:
        for count in range(10_000):
            try:
                shares.count(client_id)
            except Refused as refused:
                return count if refused.retry_after_s == 1 else -1
        return 10_000

    assert allowed("cl_1") == TOKENS_BURST
    assert allowed("cl_1") == 0
    assert allowed("cl_2") == TOKENS_BURST
    now_s += 2.0
    assert allowed("cl_1") == 2 * TOKENS_PER_S
    now_s += 3600
    assert allowed("cl_1") == TOKENS_BURST


async def test_a_client_that_asks_too_often_waits_and_nobody_else_does(identity: Running) -> None:
    client, other = await identity.client("points:read"), await identity.client("points:read")
    wrong = body(client, client_secret="cs_wrong")
    guesses = await asyncio.gather(*(outcomes(identity.tokens().IssueToken(wrong)) for _ in range(TOKENS_BURST // 2)))
    assert {str(one) for (one,) in guesses} == {"UNAUTHENTICATED"}
    asked = await outcomes(*(identity.tokens().IssueToken(body(client)) for _ in range(TOKENS_BURST + 50)))
    assert sum(isinstance(one, tokens_pb2.IssueTokenResponse) for one in asked) == TOKENS_BURST
    assert {one for one in asked if isinstance(one, str)} == {"RATE_LIMITED"}
    refused = identity.tokens().IssueToken(body(client))
    assert await reason(refused) == "RATE_LIMITED"
    assert int(dict(await refused.initial_metadata())["retry-after"]) >= 1
    assert await issue(identity, other)
    identity.clocks.pass_s(1)
    assert await issue(identity, client)
