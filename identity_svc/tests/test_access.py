"""What a program's own credentials may do with credentials, and what operators see of them."""

import asyncio
from datetime import UTC, timedelta
from typing import Any

import pytest
from rewards.identity.v1 import access_pb2, programs_pb2
from rewards.identity.v1 import credentials_pb2 as pb
from rewards.identity.v1.access_pb2_grpc import AccessServiceStub
from rewards.identity.v1.credentials_pb2_grpc import CredentialsServiceStub
from rewards.identity.v1.programs_pb2_grpc import ProgramsServiceStub

from identity_svc.tests.running import OPERATOR, PLAN, PROGRAM, Running, outcomes, reason, refusal, worker
from identity_svc.tests.test_gatekeeper import BALANCE, REDEEM, REST, token
from identity_svc.tests.test_revocation import add_partner
from identity_svc.tests.verdicts import passed
from svckit.call import Kind, Principal

SCOPE = "credentials:write"


async def issue(identity: Running, by: str, *scopes: str, held: tuple[str, ...] = (), **more: Any) -> Any:
    """A key with `scopes`, made by a credential whose token has the scopes `held`."""
    caller = Principal(Kind.PARTNER, by, "acme", frozenset(held or (SCOPE, *scopes)))
    request = access_pb2.IssueApiKeyRequest(name="made", scopes=scopes)
    if "expires_at" in more:
        request.expires_at.FromDatetime(more["expires_at"])
    return await identity.call(AccessServiceStub, "IssueApiKey", request, caller, more.get("key", ""))


async def listed(identity: Running, by: str, page_size: int = 0, page_token: str = "") -> Any:
    caller = Principal(Kind.PARTNER, by, "acme", frozenset({SCOPE}))
    request = access_pb2.ListCredentialsRequest(page_size=page_size, page_token=page_token)
    return await identity.call(AccessServiceStub, "ListCredentials", request, caller)


async def test_a_partners_own_key_has_its_makers_program_partner_and_plan(identity: Running) -> None:
    await add_partner(identity, "north")
    small = pb.Plan(plan_id="small", requests_per_second=2, burst=4, requests_per_day=100)
    await identity.operate("PutPlan", pb.PutPlanRequest(plan=small))
    wanted = pb.CreateClientRequest(
        program_id="acme", name="x", scopes=[SCOPE, "points:read"], plan_id="small", partner_id="north"
    )
    client = await identity.operate("CreateClient", wanted)
    made = await issue(identity, client.client_id, "points:read")
    answer = await identity.check(BALANCE, {"x-api-key": made.api_key})
    headers, _ = passed(answer)
    assert (headers["x-rewards-program"], headers["x-rewards-scopes"]) == ("acme", "points:read")
    assert headers["x-rewards-limits"].startswith("2 4 3 ")
    (entry,) = [one for one in (await listed(identity, client.client_id)).credentials if one.name == "made"]
    assert (entry.credential_id, entry.partner_id, entry.plan_id) == (made.key_id, "north", "small")


@pytest.mark.parametrize(
    ("held", "asked", "wanted"),
    [
        ((SCOPE, "points:read"), ("points:write",), "PERMISSION_DENIED"),
        ((SCOPE, "points:read"), ("points:read", "points:write"), "PERMISSION_DENIED"),
        # A narrowed token makes narrow keys, whatever its client could have asked for.
        ((SCOPE,), ("points:read",), "PERMISSION_DENIED"),
        ((SCOPE,), ("points:steal",), "PERMISSION_DENIED"),
        ((SCOPE,), (), "INVALID_REQUEST"),
        (("points:read",), ("points:read",), "PERMISSION_DENIED"),
        ((SCOPE, "points:read"), ("points:read",), "OK"),
        ((SCOPE,), (SCOPE,), "OK"),
    ],
)
async def test_a_key_can_do_no_more_than_its_maker(
    identity: Running, held: tuple[str, ...], asked: tuple[str, ...], wanted: str
) -> None:
    client = await identity.client(SCOPE, "points:read")
    (outcome,) = await outcomes(issue(identity, client.client_id, *asked, held=held))
    assert (outcome if isinstance(outcome, str) else "OK") == wanted


async def test_an_expiry_ends_a_key(identity: Running) -> None:
    maker = await identity.api_key(SCOPE, "points:read")
    made = await issue(identity, maker.key_id, "points:read", expires_at=identity.clocks.now + timedelta(seconds=60))
    passed(await identity.check(BALANCE, {"x-api-key": made.api_key}))
    identity.clocks.pass_s(61)
    answer = await identity.check(BALANCE, {"x-api-key": made.api_key, **REST})
    assert answer.denied_response.status.code == 401


async def test_a_replay_shows_the_key_to_those_only_who_reach_it(identity: Running) -> None:
    for partner_id in ("north", "south"):
        await add_partner(identity, partner_id)
    north, south = [await identity.api_key(SCOPE, "points:read", partner_id=one) for one in ("north", "south")]
    first = await issue(identity, north.key_id, "points:read", key="one")
    assert await issue(identity, north.key_id, "points:read", key="one") == first
    refused = await refusal(issue(identity, south.key_id, "points:read", key="one"))
    assert first.api_key not in str(refused.status())
    narrow = issue(identity, north.key_id, "points:read", key="one", held=(SCOPE,))
    assert await reason(narrow) == "PERMISSION_DENIED"


async def test_the_list_shows_when_each_was_used_and_nothing_of_other_partners(identity: Running) -> None:
    for partner_id in ("north", "south"):
        await add_partner(identity, partner_id)
    whole = await identity.api_key(SCOPE)
    north = await identity.api_key("points:read", SCOPE, partner_id="north")
    south = await identity.client("points:read", partner_id="south")
    revoked = await identity.api_key("points:read", partner_id="north")
    await identity.operate("RevokeAccess", pb.RevokeAccessRequest(program_id="acme", credential_id=revoked.key_id))
    passed(await identity.check(BALANCE, {"x-api-key": north.api_key}))
    await worker(identity.service, "credentials.usage")()
    seen = {one.credential_id: one for one in (await listed(identity, north.key_id)).credentials}
    assert seen.keys() == {north.key_id, revoked.key_id}
    assert seen[north.key_id].last_used_at.ToDatetime(UTC) == identity.clocks.now
    assert not seen[revoked.key_id].HasField("last_used_at")
    assert seen[revoked.key_id].HasField("revoked_at")
    assert seen[north.key_id].kind == pb.Credential.API_KEY
    everything = (await listed(identity, whole.key_id)).credentials
    assert {one.credential_id for one in everything} == {whole.key_id, south.client_id, *seen}
    assert north.api_key[-38:] not in str(everything)


async def test_lists_come_in_pages(identity: Running) -> None:
    maker = await identity.api_key(SCOPE)
    ids = {maker.key_id, *[(await identity.api_key("points:read")).key_id for _ in range(4)]}
    found: list[str] = []
    page_token = ""
    while True:
        page = await listed(identity, maker.key_id, 2, page_token)
        found += [one.credential_id for one in page.credentials]
        page_token = page.next_page_token
        if not page_token:
            break
        assert len(page.credentials) == 2
    assert found == sorted(ids)
    assert await reason(listed(identity, maker.key_id, 2, "nonsense")) == "INVALID_REQUEST"


async def test_an_operator_lists_programs_partners_plans_and_credentials(identity: Running) -> None:
    for partner_id in ("north", "south"):
        await add_partner(identity, partner_id)
    key = await identity.api_key("points:read", partner_id="north")
    await identity.client("points:read")
    programs = await identity.call(ProgramsServiceStub, "ListPrograms", programs_pb2.ListProgramsRequest(), OPERATOR)
    assert [program.name for program in programs.programs] == [PROGRAM.name]
    plans = await identity.operate("ListPlans", pb.ListPlansRequest())
    assert list(plans.plans) == [PLAN]
    partners = await identity.operate("ListPartners", pb.ListPartnersRequest(program_id="acme", page_size=1))
    assert [one.partner_id for one in partners.partners] == ["north"]
    more = pb.ListPartnersRequest(program_id="acme", page_size=1, page_token=partners.next_page_token)
    assert [one.partner_id for one in (await identity.operate("ListPartners", more)).partners] == ["south"]
    of_partner = pb.ListProgramCredentialsRequest(program_id="acme", partner_id="north")
    found = await identity.operate("ListProgramCredentials", of_partner)
    assert [one.credential_id for one in found.credentials] == [key.key_id]
    whole = await identity.operate("ListProgramCredentials", pb.ListProgramCredentialsRequest(program_id="acme"))
    assert len(whole.credentials) == 2


async def test_a_partner_keeps_its_name_until_it_is_changed(identity: Running) -> None:
    for name, times in (("North", 2), ("Northern", 1)):
        partner = pb.Partner(program_id="acme", partner_id="north", name=name)
        for _ in range(times):
            answer = await identity.operate("PutPartner", pb.PutPartnerRequest(partner=partner))
        assert answer.partner == partner
    unknown = pb.Partner(program_id="nowhere", partner_id="north", name="x")
    assert await reason(identity.operate("PutPartner", pb.PutPartnerRequest(partner=unknown))) == "NOT_FOUND"
    await asyncio.gather(*(add_partner(identity, "north") for _ in range(5)))


async def test_a_plan_may_price_an_operation_of_its_own(identity: Running) -> None:
    bearer = await token(identity, "points:read", "points:write")
    priced = pb.Plan()
    priced.CopyFrom(PLAN)
    priced.costs["RedeemPoints"] = 7
    await identity.operate("PutPlan", pb.PutPlanRequest(plan=priced))
    assert list((await identity.operate("ListPlans", pb.ListPlansRequest())).plans) == [priced]
    identity.clocks.pass_s(1)
    headers = {"authorization": f"Bearer {bearer}"}
    for path, left in ((REDEEM, "393"), (BALANCE, "392")):
        answered, _ = passed(await identity.check(path, headers))
        assert answered["x-rewards-limits"].split()[2] == left
    priced.costs["Nothing"] = 1
    assert await reason(identity.operate("PutPlan", pb.PutPlanRequest(plan=priced))) == "INVALID_REQUEST"
    del priced.costs["Nothing"]
    priced.costs["RedeemPoints"] = 0
    assert await reason(identity.operate("PutPlan", pb.PutPlanRequest(plan=priced))) == "INVALID_REQUEST"


async def test_only_operators_reach_what_is_theirs(identity: Running) -> None:
    everything = Principal(Kind.PARTNER, "cl_x", "acme", frozenset({SCOPE, "points:write"}))
    for name in ("PutPlan", "ListPlans", "PutPartner", "RevokeAccess", "RestoreAccess", "ListProgramCredentials"):
        request = getattr(pb, f"{name}Request")()
        assert await reason(identity.call(CredentialsServiceStub, name, request, everything)) == "PERMISSION_DENIED"
