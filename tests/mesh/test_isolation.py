"""Whoever may not have something is told the same as if it did not exist: for every operation that takes an id, by
every wrong caller, at both doors. The operations are read off the descriptors."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import grpc
import pytest
from rewards.identity.v1 import credentials_pb2 as pb

from devmesh.mesh import Mesh
from devmesh.seed import FIRST, SCOPES, SECOND
from svckit.clock import new_id
from tests.mesh.conftest import TIRELESS, Api
from tests.mesh.operators import Operator, operating
from tests.mesh.owners import Json, Owner, Tenant, Thing
from tests.mesh.takers import GIVEN, Seen, Taker, at_grpc, at_rest, everywhere, nobodys

# Another tenant's ids are no reason for them to refuse: they answer that there is nothing, or (GenerateOTP) tell nobody
# whether there is, or answer item by item.
SILENT: Final = {
    "AppendToOrderBatch.items.reward_id",
    "GenerateOTP",
    "GetOutcome",
    "GetRedemption.idempotency_key",
    "GetRedemption.transaction_id",
    "InsertTransactionBatch",
    "ListAdjustments",
    "ListRedemptions",
    "PostBatch",
}
# Of the program, and open to each of its members.
SHARED: Final = {"reward_id"}
# Within a program, only credentials are of one partner and not of another.
OF_PARTNERS: Final = {"client_id", "credential_id"}
# May come too late for what is its caller's own, and says so to nobody else.
LATE: Final = {"CancelRedemption"}
RANDOM: Final = {"batchId", "createdAt", "otpId", "expiresAt", "pending", "sandboxCode", "total"}


@dataclass(frozen=True)
class Keys:
    """API keys, which no plan holds up: of two programs, and of the first one by what they lack."""

    first: str
    second: str
    revoked: str
    of_a_partner: str
    without: dict[str, str]


@pytest.fixture(scope="session")
async def keys(mesh: Mesh, tireless_key: str) -> Keys:
    async with operating(mesh) as operator:
        revoked = await operator.api_key()
        revoke = pb.RevokeAccessRequest(program_id=FIRST, credential_id=revoked.rpartition("_")[0])
        await operator.call("RevokeAccess", revoke)
        lacking = {
            scope: await operator.api_key(plan_id=TIRELESS, scopes=[one for one in SCOPES if one != scope])
            for scope in SCOPES
        }
        return Keys(
            first=await operator.api_key(plan_id=TIRELESS),
            second=tireless_key,
            revoked=revoked,
            of_a_partner=await operator.api_key(plan_id=TIRELESS, partner_id=await operator.partner()),
            without=lacking,
        )


@dataclass(frozen=True)
class Caller:
    """Who asks, and whose things stand in the request beside the one that it is about."""

    kind: str
    credential: str | None
    base: Owner


@dataclass(frozen=True)
class Forms:
    """The two forms in which the mesh is asked."""

    http: aiohttp.ClientSession
    channel: grpc.aio.Channel

    async def ask(self, taker: Taker, request: Json, credential: str | None, key: str) -> list[Seen]:
        """What is answered, in each of the forms that the operation has."""
        return [
            await at_grpc(self.channel, taker.rpc, request, credential, key),
            *[await at_rest(self.http, form, request, credential, key) for form in taker.rpc.bindings],
        ]


@pytest.fixture
async def forms(mesh: Mesh, http: aiohttp.ClientSession) -> AsyncIterator[Forms]:
    async with grpc.aio.insecure_channel(mesh.env["REWARDS_GRPC"]) as channel:
        yield Forms(http, channel)


@pytest.fixture
def first(http: aiohttp.ClientSession, keys: Keys, operator: Operator) -> Tenant:
    return Tenant(FIRST, Api(http, keys.first), operator)


@pytest.fixture
def second(http: aiohttp.ClientSession, keys: Keys, operator: Operator) -> Tenant:
    return Tenant(SECOND, Api(http, keys.second), operator)


async def wrong_callers(taker: Taker, keys: Keys, owner: Owner, second: Tenant) -> list[Caller]:
    """Everybody who must not come in with an id of the owner's."""
    stranger, field = Owner(owner.tenant), taker.path[-1].name
    callers = [
        Caller("another tenant", keys.second, Owner(second)),
        Caller("without the scope", keys.without.get(taker.rpc.access.scope, keys.first), owner),
        Caller("nobody", None, owner),
        Caller("revoked", keys.revoked, owner),
    ]
    if not (taker.rpc.access.member and field in SHARED):
        callers.append(Caller("another member", await stranger.token(), stranger))
    if field in OF_PARTNERS:
        callers.append(Caller("another partner", keys.of_a_partner, owner))
    return callers


@pytest.mark.parametrize("taker", everywhere(), ids=str)
async def test_what_is_not_the_callers_is_as_what_never_was(
    taker: Taker, keys: Keys, forms: Forms, first: Tenant, second: Tenant
) -> None:
    owner, key = Owner(first), str(new_id())
    thing = await taker.example(owner)
    callers = await wrong_callers(taker, keys, owner, second)
    before = [await refused(taker, forms, caller, thing, str(new_id())) for caller in callers]
    if taker.for_operators or str(taker) in GIVEN:
        return
    request = await taker.request(owner, thing)
    if taker.rpc.access.member:
        for seen in await forms.ask(taker, request, await owner.token(), str(new_id())):
            assert let_in(taker, seen), f"the member's own token reaches what is the member's: {seen}"
    served = (await forms.ask(taker, request, keys.first, key))[0]
    assert let_in(taker, served), f"the request is good but for its caller: {served}"
    # The key under which it was served is good for nobody else.
    assert [await refused(taker, forms, caller, thing, key) for caller in callers] == before


async def refused(taker: Taker, forms: Forms, caller: Caller, thing: Thing, key: str) -> list[Seen]:
    """What the caller is told of the thing, which is what it is told of what never was."""
    there, nowhere = [
        steady(await forms.ask(taker, await taker.request(caller.base, one), caller.credential, under))
        for one, under in ((thing, key), (nobodys(thing), str(new_id())))
    ]
    who = f"{taker} by {caller.kind}"
    if str(taker) in GIVEN and caller.kind == "another tenant":
        assert [(seen.ok, seen.headers) for seen in there] == [(seen.ok, seen.headers) for seen in nowhere], who
        assert there[0].ok, (who, there)
        return there
    assert there == nowhere, who
    for seen in there:
        if caller.kind in {"nobody", "revoked"}:
            assert seen.code in {401, grpc.StatusCode.UNAUTHENTICATED}, (who, seen)
        elif caller.kind == "without the scope":
            assert seen.code in {403, grpc.StatusCode.PERMISSION_DENIED}, (who, seen)
        else:
            silent = bool({taker.rpc.name, str(taker)} & SILENT) and caller.kind == "another tenant"
            assert seen.ok == silent, (who, seen)
    return there


def let_in(taker: Taker, seen: Seen) -> bool:
    """Whether the caller was told that the thing is there."""
    return seen.ok or (taker.rpc.name in LATE and seen.code in {409, grpc.StatusCode.FAILED_PRECONDITION})


def steady(answers: list[Seen]) -> list[Seen]:
    """The answers without what is different each time."""
    return [Seen(one.ok, one.code, _steady(one.body), one.headers) for one in answers]


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: type(one).__name__ if name in RANDOM else _steady(one) for name, one in value.items()}
    return value
