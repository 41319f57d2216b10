"""Revocation at every level: after the acknowledgement nothing passes, at any gatekeeper."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from rewards.errors.v1.errors_pb2 import OAuthError
from rewards.identity.v1 import access_pb2
from rewards.identity.v1 import credentials_pb2 as pb
from rewards.identity.v1.access_pb2_grpc import AccessServiceStub
from sqlalchemy import select

from devmesh.pki import Authority
from identity_svc import tables
from identity_svc.credentials import keys
from identity_svc.credentials.keys import Hasher
from identity_svc.credentials.servicer import create_operator
from identity_svc.service import SYSTEM_TIME
from identity_svc.tests.running import PEPPER, Clocks, Running, outcomes, reason, refusal, running
from identity_svc.tests.test_gatekeeper import BALANCE, PUT_PROGRAM, REST
from identity_svc.tests.test_tokens import body
from svckit.call import Kind, Principal
from svckit.testing import partner

TRIALS = 100
LEVELS = ("program", "partner", "credential")
SUBSETS = [some for count in (1, 2, 3) for some in itertools.combinations(LEVELS, count)]


@dataclass
class Holder:
    """A partner's client with a token, and its API key."""

    client: pb.CreateClientResponse
    token: str
    key: pb.CreateApiKeyResponse

    def headers(self) -> list[dict[str, str]]:
        return [{"authorization": f"Bearer {self.token}", **REST}, {"x-api-key": self.key.api_key, **REST}]

    def levels(self, level: str) -> list[pb.RevokeAccessRequest]:
        """What must be revoked so that the level is, of both credentials."""
        match level:
            case "program":
                return [pb.RevokeAccessRequest(program_id="acme")]
            case "partner":
                return [pb.RevokeAccessRequest(program_id="acme", partner_id="north")]
            case _:
                ids = (self.client.client_id, self.key.key_id)
                return [pb.RevokeAccessRequest(program_id="acme", credential_id=one) for one in ids]


async def add_partner(identity: Running, partner_id: str) -> None:
    request = pb.PutPartnerRequest(partner=pb.Partner(program_id="acme", partner_id=partner_id, name="A partner"))
    await identity.operate("PutPartner", request)


async def holder(identity: Running, partner_id: str = "north") -> Holder:
    await add_partner(identity, partner_id)
    client = await identity.client("points:read", partner_id=partner_id)
    token = (await identity.tokens().IssueToken(body(client))).access_token
    return Holder(client, token, await identity.api_key("points:read", partner_id=partner_id))


async def passed(gatekeepers: list[Running], headers: dict[str, str], trials: int = 1) -> int:
    """How many of so many questions to each gatekeeper are answered by letting the request through."""
    asked = (one.check(BALANCE, headers) for one in gatekeepers for _ in range(trials))
    answers = await asyncio.gather(*asked)
    return sum(answer.WhichOneof("http_response") == "ok_response" for answer in answers)


@pytest.fixture
async def pair(identity: Running, authority: Authority) -> AsyncIterator[list[Running]]:
    """Two processes of the service on one database, whose caches age alike."""
    async with running(identity.url, authority, identity.clocks) as other:
        yield [identity, other]


@pytest.mark.parametrize("first_used", ["before", "after"])
@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
async def test_after_the_acknowledgement_nothing_passes(
    pair: list[Running], subset: tuple[str, ...], first_used: str
) -> None:
    identity = pair[0]
    ours, bystander = await holder(identity), await holder(identity, "south")
    if first_used == "before":
        for headers in ours.headers():
            assert await passed(pair, headers) == 2
    for number, level in enumerate(subset):
        for request in ours.levels(level):
            await identity.operate("RevokeAccess", request)
        for headers in ours.headers():
            assert await passed(pair, headers, TRIALS if number == 0 else 1) == 0
    refused = await refusal(identity.tokens().IssueToken(body(ours.client)))
    assert refused.detail == OAuthError(error="invalid_client")
    for headers in bystander.headers():
        assert await passed(pair, headers) == (0 if "program" in subset else 2)


@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
async def test_what_is_restored_works_again_but_no_token_of_before_does(
    pair: list[Running], subset: tuple[str, ...]
) -> None:
    identity = pair[0]
    ours = await holder(identity)
    by_token, by_key = ours.headers()
    for level in subset:
        for request in ours.levels(level):
            await identity.operate("RevokeAccess", request)
    for number, level in enumerate(reversed([one for one in subset if one != "credential"])):
        assert await passed(pair, by_key) == 0, f"restored {number} levels and one is still revoked"
        partner_id = "north" if level == "partner" else ""
        await identity.operate("RestoreAccess", pb.RestoreAccessRequest(program_id="acme", partner_id=partner_id))
        identity.clocks.pass_s(1)
    assert await passed(pair, by_token, TRIALS) == 0
    revoked = "credential" in subset
    assert await passed(pair, by_key) == (0 if revoked else 2)
    (fresh,) = await outcomes(identity.tokens().IssueToken(body(ours.client)))
    assert (fresh == "UNAUTHENTICATED") is revoked


async def test_a_revoked_credential_is_refused_from_the_acknowledgement_on_while_all_knock(
    identity: Running, authority: Authority, clocks: Clocks
) -> None:
    """By the real clock: what is asked after the acknowledgement never passes, though all were asked all along."""
    async with (
        running(identity.url, authority, clocks, SYSTEM_TIME) as one,
        running(identity.url, authority, clocks, SYSTEM_TIME) as two,
    ):
        ours = await holder(identity)
        asked: list[tuple[float, int]] = []
        done = asyncio.Event()

        async def knock(at: Running, headers: dict[str, str]) -> None:
            while not done.is_set():
                started = time.monotonic()
                asked.append((started, await passed([at], headers)))

        knockers = [asyncio.create_task(knock(at, headers)) for at in (one, two) for headers in ours.headers()]
        while len(asked) < TRIALS:
            await passed([one, two], ours.headers()[0])
        called = time.monotonic()
        await one.operate("RevokeAccess", pb.RevokeAccessRequest(program_id="acme", partner_id="north"))
        acknowledged = time.monotonic()
        while sum(started > acknowledged for started, _ in asked) < TRIALS:
            await passed([one, two], ours.headers()[0])
        done.set()
        await asyncio.gather(*knockers)
    assert acknowledged - called < 2
    assert all(passes for _, passes in asked[:TRIALS])
    assert not any(passes for started, passes in asked if started > acknowledged)


async def test_an_operators_key_can_be_revoked(identity: Running) -> None:
    key = await create_operator(identity.db, Hasher(PEPPER), "left")
    headers = {"authorization": f"Bearer {key}"}
    assert (await identity.check(PUT_PROGRAM, headers)).WhichOneof("http_response") == "ok_response"
    await identity.operate("RevokeAccess", pb.RevokeAccessRequest(credential_id=keys.credential_id(key) or ""))
    assert (await identity.check(PUT_PROGRAM, headers)).WhichOneof("http_response") == "denied_response"


async def test_revoking_again_changes_nothing_and_each_deed_is_audited_once(identity: Running) -> None:
    ours = await holder(identity)
    for level in LEVELS:
        for request in ours.levels(level):
            first = await identity.operate("RevokeAccess", request)
            assert await identity.operate("RevokeAccess", request) == first
    await identity.operate("RestoreAccess", pb.RestoreAccessRequest(program_id="acme"))
    await identity.operate("RestoreAccess", pb.RestoreAccessRequest(program_id="acme"))
    async with identity.db.read() as tx:
        rows = (await tx.execute(select(tables.audit).order_by(tables.audit.c.audit_id))).all()
    deeds = [row for row in rows if row.action.endswith(("revoked", "restored"))]
    assert [(row.action, row.target) for row in deeds] == [
        ("program.revoked", "acme"),
        ("partner.revoked", "north"),
        ("credential.revoked", ours.client.client_id),
        ("credential.revoked", ours.key.key_id),
        ("program.restored", "acme"),
    ]
    assert {row.actor for row in deeds} == {"rk_op_test"}


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (pb.RevokeAccessRequest(program_id="unknown"), "NOT_FOUND"),
        (pb.RevokeAccessRequest(program_id="acme", partner_id="unknown"), "NOT_FOUND"),
        (pb.RevokeAccessRequest(program_id="acme", credential_id="cl_unknown"), "NOT_FOUND"),
        (pb.RevokeAccessRequest(program_id="acme", partner_id="a", credential_id="b"), "INVALID_REQUEST"),
        (pb.RevokeAccessRequest(partner_id="a"), "INVALID_REQUEST"),
        (pb.RevokeAccessRequest(), "INVALID_REQUEST"),
    ],
)
async def test_a_level_that_is_not_there_is_refused(
    identity: Running, request_: pb.RevokeAccessRequest, wanted: str
) -> None:
    assert await reason(identity.operate("RevokeAccess", request_)) == wanted


async def test_nothing_is_made_below_a_revoked_level(identity: Running) -> None:
    await add_partner(identity, "north")
    assert await reason(identity.client("points:read", partner_id="unknown")) == "NOT_FOUND"
    await identity.operate("RevokeAccess", pb.RevokeAccessRequest(program_id="acme", partner_id="north"))
    assert await reason(identity.client("points:read", partner_id="north")) == "CONFLICT"
    await identity.client("points:read")
    await identity.operate("RevokeAccess", pb.RevokeAccessRequest(program_id="acme"))
    assert await reason(identity.api_key("points:read")) == "CONFLICT"


async def test_a_partner_revokes_what_it_reaches_and_sees_nothing_else(identity: Running) -> None:
    north, south = await holder(identity), await holder(identity, "south")
    whole = await identity.api_key("credentials:write")

    async def revoke(caller_id: str, credential_id: str) -> str:
        caller = Principal(Kind.PARTNER, caller_id, "acme", frozenset({"credentials:write"}))
        request = access_pb2.RevokeCredentialRequest(credential_id=credential_id)
        (outcome,) = await outcomes(identity.call(AccessServiceStub, "RevokeCredential", request, caller))
        return outcome if isinstance(outcome, str) else "REVOKED"

    for hidden in (south.key.key_id, whole.key_id, "cl_unknown"):
        assert await revoke(north.client.client_id, hidden) == "NOT_FOUND"
    assert await revoke(north.client.client_id, north.key.key_id) == "REVOKED"
    assert await revoke(whole.key_id, south.client.client_id) == "REVOKED"
    assert await passed([identity], north.headers()[1]) == 0
    assert await passed([identity], south.headers()[0]) == 0
    assert await passed([identity], south.headers()[1]) == 1
    other = partner("acme", "points:write")
    request = access_pb2.RevokeCredentialRequest(credential_id=whole.key_id)
    assert await reason(identity.call(AccessServiceStub, "RevokeCredential", request, other)) == "PERMISSION_DENIED"


async def test_a_revocation_and_a_creation_at_once_leave_no_door_open(identity: Running) -> None:
    await add_partner(identity, "north")
    revoke = identity.operate("RevokeAccess", pb.RevokeAccessRequest(program_id="acme", partner_id="north"))
    made = await outcomes(revoke, *(identity.api_key("points:read", partner_id="north") for _ in range(10)))
    for one in made[1:]:
        assert one == "CONFLICT" or await passed([identity], {"x-api-key": one.api_key}) == 0  # type: ignore[attr-defined]
