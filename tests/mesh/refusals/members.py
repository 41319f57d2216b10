"""Refusals about members, their attributes and relations, and merges."""

from typing import Any

from devmesh.demo.partner import Answer
from svckit.clock import new_id
from tests.mesh.refusals.stage import Cases, Stage

CASES = Cases()


@CASES.provokes("MEMBER_NOT_FOUND", "CreateProfileWithAttributes")
async def erased_since(stage: Stage, operation: str) -> Answer:
    key = str(new_id())
    made = await stage.must(operation, {}, key=key)
    await stage.must(f"members/{made['memberId']}:erase", {})
    return await stage.api.post(operation, {}, key=key)


@CASES.provokes("MEMBER_EXISTS", "CreateProfileWithAttributes")
async def id_taken(stage: Stage, operation: str) -> Answer:
    return await stage.api.post(operation, {"memberId": await stage.api.member()})


@CASES.provokes("RELATION_TAKEN", "CreateProfileWithAttributes")
async def made_with_anothers_relation(stage: Stage, operation: str) -> Answer:
    return await stage.api.post(operation, {"relations": [await _anothers_relation(stage)]})


@CASES.provokes("RELATION_TAKEN", "LinkSubRelation")
async def linked_to_anothers_relation(stage: Stage, operation: str) -> Answer:
    relation = await _anothers_relation(stage)
    return await stage.api.post(operation, {"memberId": await stage.api.member(), **relation})


@CASES.provokes("RELATION_NOT_FOUND", "UnlinkSubRelation")
async def anothers_relation(stage: Stage, operation: str) -> Answer:
    relation = await _anothers_relation(stage)
    return await stage.api.post(operation, {"memberId": await stage.api.member(), **relation})


@CASES.provokes("ATTRIBUTE_TAKEN", "CreateProfileWithAttributes")
async def made_with_anothers_attribute(stage: Stage, operation: str) -> Answer:
    return await stage.api.post(operation, {"attributes": await _anothers_attribute(stage)})


@CASES.provokes("ATTRIBUTE_TAKEN", "UpdateProfile")
async def given_anothers_attribute(stage: Stage, operation: str) -> Answer:
    attributes = await _anothers_attribute(stage)
    return await stage.api.post(operation, {"memberId": await stage.api.member(), "attributes": attributes})


@CASES.provokes("CONFLICT", "UpdateProfile")
async def stale_etag(stage: Stage, operation: str) -> Answer:
    made = await stage.must("CreateProfileWithAttributes", {})
    change = {"memberId": made["memberId"], "etag": made["etag"]}
    await stage.must(operation, {**change, "status": "SUSPENDED"})
    return await stage.api.post(operation, {**change, "status": "ACTIVE"})


@CASES.provokes("CONFLICT", "MergeProfiles")
async def merged_into_another(stage: Stage, operation: str) -> Answer:
    merged_id, survivor_id, other_id = [await stage.api.member() for _ in range(3)]
    await stage.must(operation, {"survivorId": survivor_id, "mergedId": merged_id})
    return await stage.api.post(operation, {"survivorId": other_id, "mergedId": merged_id})


async def _anothers_relation(stage: Stage) -> dict[str, Any]:
    relation = {"type": "crm", "value": str(new_id())}
    await stage.must("CreateProfileWithAttributes", {"relations": [relation]})
    return relation


async def _anothers_attribute(stage: Stage) -> dict[str, Any]:
    unique = {"name": "card", "type": "STRING", "unique": True}
    answer = await stage.api.call("PUT", "/v1/attributeDefinitions", {"attributeDefinitions": [unique]})
    assert answer.code == 0, answer
    attributes = {"card": str(new_id())}
    await stage.must("CreateProfileWithAttributes", {"attributes": attributes})
    return attributes
