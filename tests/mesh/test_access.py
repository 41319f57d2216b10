"""Rotation and revocation as partners see them: through two Envoys, each with a gatekeeper of its own, and without
Redis."""

import asyncio
import signal
from collections.abc import Iterator

import aiohttp
import pytest
from joserfc.jwk import ECKey
from rewards.identity.v1 import credentials_pb2 as pb

from devmesh.mesh import Mesh
from svckit.clock import new_id
from tests.mesh.conftest import Api, until
from tests.mesh.holders import Holder, Shown, holder, public
from tests.mesh.operators import ACKNOWLEDGED_S, Operator

Doors = list[aiohttp.ClientSession]
# At each of the two doors.
TRIALS = 50
LEVELS = ("program", "partner", "credential")


@pytest.fixture(params=["with Redis", "without Redis"])
def redis(request: pytest.FixtureRequest, mesh: Mesh, doors: Doors) -> Iterator[None]:
    """Nothing here may hang on Redis. One that is stopped and not gone is the worse of the two."""
    dead = request.param == "without Redis"
    if dead:
        mesh.kill("redis", signal.SIGSTOP)
    yield
    if dead:
        mesh.kill("redis", signal.SIGCONT)


def of_level(level: str, program_id: str, partner_id: str, holders: list[Holder]) -> list[pb.RevokeAccessRequest]:
    """What must be revoked so that the level is, for all of the holders."""
    match level:
        case "program":
            return [pb.RevokeAccessRequest(program_id=program_id)]
        case "partner":
            return [pb.RevokeAccessRequest(program_id=program_id, partner_id=partner_id)]
        case _:
            ids = [credential_id for one in holders for credential_id in one.ids]
            return [pb.RevokeAccessRequest(program_id=program_id, credential_id=one) for one in ids]


async def gone(shown: Shown, doors: Doors, *kinds: str) -> None:
    """Not one of a hundred requests passes with what is of these kinds, or with anything; all else is good."""
    lost = [kind for kind in shown.credentials if not kinds or kind.endswith(kinds)]
    # All at once: what is late by less than the age of a cache would be missed by those that wait for others.
    for kind, codes in zip(
        lost, await asyncio.gather(*(shown.codes(kind, doors, TRIALS) for kind in lost)), strict=True
    ):
        # A busy gatekeeper may refuse without having looked.
        assert {2001} <= codes <= {2001, 9002}, kind
    await good(shown, doors, *(shown.credentials.keys() - lost))


async def good(shown: Shown, doors: Doors, *kinds: str) -> None:
    """What is of these kinds passes at every door."""
    for kind in kinds:
        assert await shown.codes(kind, doors) == {0}, kind


@pytest.mark.usefixtures("redis")
@pytest.mark.parametrize("level", LEVELS)
async def test_a_revocation_holds_at_every_door_from_its_acknowledgement_on(
    operator: Operator, mesh: Mesh, doors: Doors, level: str
) -> None:
    program_id = await operator.program()
    partner_id, other_id = await operator.partner(program_id), await operator.partner(program_id)
    used, unused = [
        await holder(operator, doors[0], mesh.url, program_id=program_id, partner_id=partner_id) for _ in "ab"
    ]
    seen, unseen = await used.shown(), await unused.shown()
    bystander = await holder(operator, doors[1], mesh.url, program_id=program_id, partner_id=other_id)
    others = await bystander.shown()
    await good(seen, doors, *seen.credentials)
    revoke = of_level(level, program_id, partner_id, [used, unused])
    await asyncio.gather(*(operator.call("RevokeAccess", one, within_s=ACKNOWLEDGED_S) for one in revoke))
    await gone(seen, doors)
    await gone(unseen, doors)
    for one in (used, unused):
        assert [await one.by_secret(), await one.by_assertion()] == [None, None]
    if level != "program":
        await good(others, doors, *others.credentials)
    if level != "credential":
        await restored(operator, revoke[0], used, seen, doors)


async def restored(
    operator: Operator, revoked: pb.RevokeAccessRequest, owner: Holder, before: Shown, doors: Doors
) -> None:
    """Whoever was shut out may come in again, but not by a token of before."""
    restore = pb.RestoreAccessRequest(program_id=revoked.program_id, partner_id=revoked.partner_id)
    await operator.call("RestoreAccess", restore)
    for door in doors:

        async def let_in(at: aiohttp.ClientSession = door) -> bool:
            return await before.codes("API key", [at]) == {0}

        await until(let_in)
    after = await owner.shown()
    await good(after, doors, *after.credentials)
    tokens = {kind: one for kind, one in before.credentials.items() if kind != "API key"}
    await gone(Shown(tokens, before.member_id), doors)


@pytest.mark.usefixtures("redis")
async def test_a_rotation_of_a_secret_holds_at_every_door_from_its_acknowledgement_on(
    operator: Operator, mesh: Mesh, doors: Doors
) -> None:
    one = await holder(operator, doors[0], mesh.url, program_id=await operator.program())
    before = await one.shown()
    await good(before, doors, *before.credentials)
    old, request, key = before.credentials["secret's token"], {"clientId": one.client.client_id}, str(new_id())
    async with asyncio.timeout(ACKNOWLEDGED_S):
        rotated = await Api(doors[0], old).post("RotateCredentials", request, key=key)
    assert rotated.status == 200, rotated
    assert set(rotated.result) == {"clientId", "clientSecret", "rotatedAt"}
    await gone(before, doors, "secret's token")
    for door in doors:
        at_door = Holder(door, one.issuer, one.api_key, one.client, one.signer_id, one.signing_key)
        assert await at_door.by_secret() is None
        fresh = await at_door.by_secret(rotated.result["clientSecret"])
        again = await Api(door, fresh or "").post("RotateCredentials", request, key=key)
        assert (again.body, again.headers["idempotency-replayed"]) == (rotated.body, "true")


@pytest.mark.usefixtures("redis")
async def test_a_rotation_of_a_key_pair_holds_at_every_door_from_its_acknowledgement_on(
    operator: Operator, mesh: Mesh, doors: Doors
) -> None:
    one = await holder(operator, doors[0], mesh.url, program_id=await operator.program())
    before, fresh = await one.shown(), ECKey.generate_key("P-256")
    await good(before, doors, *before.credentials)
    request = {"clientId": one.signer_id, "jwks": public(fresh)}
    async with asyncio.timeout(ACKNOWLEDGED_S):
        rotated = await Api(doors[0], before.credentials["assertion's token"]).post("RotateCredentials", request)
    assert (rotated.status, set(rotated.result)) == (200, {"clientId", "rotatedAt"}), rotated
    await gone(before, doors, "assertion's token")
    assert await one.by_assertion() is None
    token = await one.by_assertion(fresh)
    assert (await Api(doors[1], token or "").post("GetBalance", {"memberId": before.member_id})).code == 0


async def test_a_partner_revokes_its_own_key(operator: Operator, mesh: Mesh, doors: Doors) -> None:
    of = {"program_id": await operator.program()}
    one, other = [await holder(operator, doors[0], mesh.url, **of) for _ in "ab"]
    before = await one.shown()
    async with asyncio.timeout(ACKNOWLEDGED_S):
        revoked = await Api(doors[0], other.api_key).call("POST", f"/v1/credentials/{one.ids[0]}:revoke", {})
    assert (revoked.status, set(revoked.result)) == (200, {"credentialId", "revokedAt"})
    await gone(before, doors, "API key")
