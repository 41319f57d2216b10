"""Members through the gateway: found by what is known of them, and linked to what is theirs."""

import asyncio

import psycopg

from devmesh.mesh import Mesh
from svckit.clock import new_id
from tests.mesh.conftest import Api
from tests.mesh.test_kills import COST, ended, order


async def test_attributes_are_defined_and_members_found_by_them(api: Api) -> None:
    before = await api.call("GET", "/v1/attributeDefinitions")
    definitions = [
        {"name": "town", "type": "STRING", "required": False, "unique": False, "personalData": False},
        {"name": "loginName", "type": "STRING", "required": False, "unique": True, "personalData": True},
    ]
    wanted = [*before.result["attributeDefinitions"], *definitions]
    put = await api.call("PUT", "/v1/attributeDefinitions", {"attributeDefinitions": wanted})
    assert put.code == 0, put
    read = await api.call("GET", "/v1/attributeDefinitions")
    assert read.result["attributeDefinitions"] == sorted(wanted, key=lambda one: str(one["name"]))
    bad = await api.call("PUT", "/v1/attributeDefinitions", {"attributeDefinitions": [{"name": "x", "kind": "STRING"}]})
    assert (bad.status, bad.code) == (400, 1000)
    made = [
        await api.post("CreateProfileWithAttributes", {"attributes": {"town": "Ulm & co", "loginName": f"l{n}"}})
        for n in range(3)
    ]
    ids = sorted(str(one.result["memberId"]) for one in made)
    page = await api.call("GET", "/v1/members?pageSize=2&filter=town%20%3D%20%22Ulm%20%26%20co%22")
    assert [one["memberId"] for one in page.result["members"]] == ids[:2], page
    token = page.result["nextPageToken"]
    rest = await api.call("GET", f"/v1/members?pageSize=2&filter=town%20%3D%20%22Ulm%20%26%20co%22&pageToken={token}")
    assert [one["memberId"] for one in rest.result["members"]] == ids[2:]
    assert rest.result["nextPageToken"] == ""
    in_url = await api.call("GET", "/v1/members?filter=loginName%20%3D%20%22l1%22")
    assert (in_url.status, in_url.code) == (400, 1000)
    found = await api.post("GetProfileByAttribute", {"name": "loginName", "value": "l1"})
    assert found.result["memberId"] == made[1].result["memberId"]
    taken = await api.post("CreateProfileWithAttributes", {"attributes": {"loginName": "l1"}})
    assert (taken.status, taken.code) == (409, 3005)
    # Other journeys make members of their own, which nothing here may bind.
    assert (await api.call("PUT", "/v1/attributeDefinitions", before.result)).code == 0


async def test_a_relation_is_linked_read_and_ended(api: Api) -> None:
    member_id = await api.member()
    relation = {"memberId": member_id, "type": "crm", "value": f"crm-{member_id}"}
    assert (await api.post("LinkSubRelation", relation)).code == 0
    read = await api.post("GetSubRelations", {"memberId": member_id})
    assert read.result["relations"] == [{"type": "crm", "value": f"crm-{member_id}"}]
    by_relation = await api.post("GetProfileByAttribute", {"name": "crm", "value": f"crm-{member_id}"})
    assert by_relation.result["memberId"] == member_id
    assert (await api.post("UnlinkSubRelation", relation, key="once")).result["relations"] == []
    again = await api.post("UnlinkSubRelation", relation, key="once")
    assert (again.code, again.headers["idempotency-replayed"]) == (0, "true")
    gone = await api.post("UnlinkSubRelation", relation)
    assert (gone.status, gone.code) == (404, 3006)


async def test_a_status_decides_on_earning_and_redeeming(api: Api) -> None:
    member_id = await api.member(points=100)
    for status, allowed in (
        ("SUSPENDED", False),
        ("LOGIN_BLOCKED", True),
        ("CANCELLED", False),
        ("MEMBERSHIP_BLOCKED", False),
        ("ACTIVE", True),
    ):
        assert (await api.post("UpdateProfile", {"memberId": member_id, "status": status})).code == 0
        redeemed = await api.post("RedeemPoints", {"memberId": member_id, "points": 1})
        earned = await api.post("credits", {"memberId": member_id, "points": 1})
        assert {redeemed.code, earned.code} == {0 if allowed else 3003}, status


async def test_merged_members_are_one_and_can_be_taken_apart(api: Api) -> None:  # G44
    survivor, merged = await api.member(points=100), await api.member()
    await api.post("credits", {"memberId": merged, "points": 40, "expiresAt": "2098-06-30"})
    spent = await api.post("RedeemPoints", {"memberId": merged, "points": 10})
    relation = {"type": "crm", "value": f"crm-{merged}"}
    await api.post("LinkSubRelation", {"memberId": merged, **relation})
    request = {"survivorId": survivor, "mergedId": merged}
    answers = await asyncio.gather(*(api.post("MergeProfiles", request, key=f"merge-{merged}") for _ in range(5)))
    assert {answer.code for answer in answers} <= {0, 1003}, answers
    again = await api.post("MergeProfiles", request)
    assert (again.code, again.result["memberId"], again.result["relations"]) == (0, survivor, [relation])
    assert (await api.balance(merged))["balance"] == (await api.balance(survivor))["balance"] == 130
    schedule = await api.post("GetExpirySchedule", {"memberId": survivor})
    assert [row["points"] for row in schedule.result["rows"]] == [30]
    back = await api.post("ReversalPoints", {"transactionId": spent.result["transactionId"]})
    assert back.result["balance"] == 140
    undone = await api.post("UnmergeProfiles", {"mergedId": merged})
    assert (undone.code, undone.result["memberId"], undone.result["relations"]) == (0, merged, [relation])
    assert [(await api.balance(one))["balance"] for one in (survivor, merged)] == [100, 40]


async def test_an_erased_member_is_gone_and_the_ledger_stays_whole(api: Api, mesh: Mesh) -> None:  # G52
    canary = f"canary-{new_id().hex}"
    made = await api.post("CreateProfileWithAttributes", {"attributes": {"name": canary}}, key=canary)
    member_id = str(made.result["memberId"])
    await api.post("credits", {"memberId": member_id, "points": 50})
    exported = await api.call("POST", f"/v1/members/{member_id}:export", {})
    assert exported.result["member"]["attributes"] == {"name": canary}
    erased = await api.call("POST", f"/v1/members/{member_id}:erase", {})
    assert (erased.code, erased.result["memberId"], erased.result["keysDestroyed"]) == (0, member_id, 1)
    assert (await api.call("POST", f"/v1/members/{member_id}:erase", {})).result == erased.result
    gone = await api.post("GetProfile", {"memberId": member_id})
    unknown = await api.post("GetProfile", {"memberId": "m_unknown"})
    assert (gone.status, gone.code, gone.result) == (unknown.status, 3001, unknown.result)
    assert (await api.post("RedeemPoints", {"memberId": member_id, "points": 1})).code == 3003
    assert (await api.post("CreateProfileWithAttributes", {"attributes": {"name": canary}}, key=canary)).code == 3001
    with psycopg.connect(mesh.dsn("identity")) as connection:
        found = connection.execute("SELECT count(*) FROM member_keys WHERE member_id = %s", (member_id,)).fetchone()
    assert found == (0,)


async def test_a_redemption_under_way_ends_for_the_survivor(api: Api) -> None:  # G44
    survivor, merged = await api.member(), await api.member(points=1_300)
    orders = [await order(api, merged) for _ in range(2)]
    assert (await api.post("MergeProfiles", {"survivorId": survivor, "mergedId": merged})).code == 0
    orders.append(await order(api, merged))
    assert [await ended(api, one) for one in orders] == ["FULFILLED"] * 3
    found = await api.balance(survivor)
    assert (found["balance"], found["held"]) == (1_300 - COST * 3, 0)
    assert await api.balance(merged) | {"asOf": ""} == found | {"asOf": ""}
