"""Merging members and taking them apart again, with a ledger that writes down what it is told (G44)."""

import asyncio
from typing import Any

import pytest
from rewards.identity.v1 import members_pb2, merges_pb2
from rewards.identity.v1 import merges_pb2 as pb
from sqlalchemy import select

from identity_svc.members import tables as member_tables
from identity_svc.tests.running import Running, outcomes, reason, worker
from identity_svc.tests.test_attributes import EMAIL, by, define, found, ids, make
from identity_svc.tests.test_members import create, get, link, updating
from identity_svc.tests.test_relations import unlink, values
from svckit.testing import partner


def merge(survivor_id: str = "m_1", merged_id: str = "m_2") -> pb.MergeProfilesRequest:
    return pb.MergeProfilesRequest(survivor_id=survivor_id, merged_id=merged_id)


def undo(merged_id: str = "m_2") -> pb.UnmergeProfilesRequest:
    return pb.UnmergeProfilesRequest(merged_id=merged_id)


async def attributes(identity: Running, member_id: str = "m_1") -> dict[str, Any]:
    return dict((await get(identity, member_id)).attributes)


@pytest.fixture
async def pair(identity: Running) -> Running:
    await identity.member("CreateProfileWithAttributes", create("m_1", crm="a", city="Bonn"))
    await identity.member("CreateProfileWithAttributes", create("m_2", crm="b", city="Ulm", phone="5"))
    return identity


async def test_the_survivor_has_both_and_the_merged_id_stands_for_it(pair: Running) -> None:
    merged = (await pair.member("MergeProfiles", merge())).member
    assert (merged.member_id, dict(merged.attributes)) == ("m_1", {"city": "Bonn", "phone": "5"})
    assert [one.value for one in merged.relations] == ["a", "b"]
    assert pair.ledger.aliases == {"m_1": ("", 1), "m_2": ("m_1", 2)}
    assert await get(pair) == await get(pair, "m_2") == merged
    await pair.member("UpdateProfile", updating("m_2", city="Köln", status="SUSPENDED"))
    await pair.member("LinkSubRelation", link("c", "m_2"))
    await pair.member("LinkSubRelation", link("c", "m_1"))
    await pair.member("UnlinkSubRelation", unlink("b", "m_2"))
    assert (await get(pair)).status == members_pb2.Member.SUSPENDED
    assert await values(pair, "m_1") == ["a", "c"]
    assert (await pair.member("GetProfileByAttribute", by("crm", "a"))).member.member_id == "m_1"
    assert ids(await found(pair, "")) == ["m_1"]
    assert await reason(pair.member("CreateProfileWithAttributes", create("m_2"))) == "MEMBER_EXISTS"
    while await worker(pair.service, "outbox.relay")():
        pass
    events = [event.type for event in pair.neighbours["fulfillment_svc"].events]
    assert events == ["member.created", "member.created", "member.merged"]


async def test_a_merge_works_twice_and_has_a_direction(pair: Running) -> None:
    first = await pair.member("MergeProfiles", merge(), "k")
    assert await pair.member("MergeProfiles", merge(), "k") == first
    assert await pair.member("MergeProfiles", merge()) == first
    assert await reason(pair.member("MergeProfiles", merge("m_2", "m_1"))) == "CONFLICT"
    assert await reason(pair.member("MergeProfiles", merge("m_1", "m_1"))) == "INVALID_REQUEST"
    assert await reason(pair.member("MergeProfiles", merge("m_1", "m_9"))) == "MEMBER_NOT_FOUND"
    assert await reason(pair.member("MergeProfiles", merge("m_9", "m_1"))) == "MEMBER_NOT_FOUND"
    other = pair.member("MergeProfiles", merge(), caller=partner("other", "members:write"))
    assert await reason(other) == "MEMBER_NOT_FOUND"
    await make(pair, "m_3")
    assert await reason(pair.member("MergeProfiles", merge("m_3", "m_2"))) == "CONFLICT"
    # Naming the survivor by its alias is naming the survivor.
    await pair.member("MergeProfiles", merge("m_2", "m_3"))
    assert (await get(pair, "m_3")).member_id == "m_1"
    async with pair.db.read() as tx:
        assert len((await tx.execute(select(member_tables.merges))).all()) == 2


async def test_a_merge_is_undone(pair: Running) -> None:
    await define(pair, EMAIL)
    await make(pair, "m_3", email="x@y")
    before = [await get(pair, one) for one in ("m_1", "m_2", "m_3")]
    await pair.member("MergeProfiles", merge("m_1", "m_3"))
    await pair.member("MergeProfiles", merge())
    assert (await pair.member("GetProfileByAttribute", by("email", "x@y"))).member.member_id == "m_1"
    await pair.member("UpdateProfile", updating("m_1", phone="6"))
    back = (await pair.member("UnmergeProfiles", undo(), "k")).member
    assert (back.attributes, back.relations) == (before[1].attributes, before[1].relations)
    assert await pair.member("UnmergeProfiles", undo(), "k") == merges_pb2.UnmergeProfilesResponse(member=back)
    assert await reason(pair.member("UnmergeProfiles", undo())) == "CONFLICT"
    # What the survivor has changed since is its own.
    assert await attributes(pair) == {"city": "Bonn", "email": "x@y", "phone": "6"}
    assert await values(pair, "m_1") == ["a"]
    assert pair.ledger.aliases["m_2"] == ("", 3)
    await pair.member("UnmergeProfiles", undo("m_3"))
    assert (await pair.member("GetProfileByAttribute", by("email", "x@y"))).member.member_id == "m_3"
    assert await attributes(pair) == {"city": "Bonn", "phone": "6"}
    # And the other way round.
    await pair.member("MergeProfiles", merge("m_2", "m_1"))
    assert (await get(pair, "m_1")).member_id == "m_2"


async def test_the_later_merge_is_undone_first(pair: Running) -> None:
    await make(pair, "m_3")
    await pair.member("MergeProfiles", merge())
    await pair.member("MergeProfiles", merge("m_3", "m_1"))
    assert (await get(pair, "m_2")).member_id == "m_3"
    assert await values(pair, "m_3") == ["a", "b"]
    assert await reason(pair.member("UnmergeProfiles", undo("m_2"))) == "CONFLICT"
    await pair.member("UnmergeProfiles", undo("m_1"))
    assert ((await get(pair, "m_2")).member_id, await values(pair, "m_1")) == ("m_1", ["a", "b"])
    await pair.member("UnmergeProfiles", undo("m_2"))
    assert (await values(pair, "m_1"), await values(pair, "m_2"), await values(pair, "m_3")) == (["a"], ["b"], [])


async def test_a_unique_value_that_somebody_has_now_keeps_a_merge(pair: Running) -> None:
    await define(pair, EMAIL)
    await make(pair, "m_3", email="x@y")
    await make(pair, "m_4", email="z")
    await pair.member("MergeProfiles", merge("m_1", "m_3"))
    await pair.member("UpdateProfile", updating("m_1", email="new"))
    await pair.member("UpdateProfile", updating("m_4", email="x@y"))
    assert await reason(pair.member("UnmergeProfiles", undo("m_3"))) == "ATTRIBUTE_TAKEN"
    assert (await get(pair, "m_3")).member_id == "m_1"


@pytest.mark.parametrize("fault", ["down", "mute"])
@pytest.mark.parametrize("by_worker", [True, False])
async def test_what_a_crash_cuts_off_is_completed(pair: Running, fault: str, *, by_worker: bool) -> None:
    for request, name, alias in ((merge(), "MergeProfiles", "m_1"), (undo(), "UnmergeProfiles", "")):
        setattr(pair.ledger, fault, True)
        assert await reason(pair.member(name, request, name)) == "UNAVAILABLE"
        # Nobody is merged or taken apart again before the ledger knows.
        assert await reason(pair.member("UnmergeProfiles", undo())) == "UNAVAILABLE"
        setattr(pair.ledger, fault, False)
        if by_worker:
            assert await worker(pair.service, "members.sync")() == 1
        answer = await pair.member(name, request, name)
        assert await pair.member(name, request, name) == answer
        assert pair.ledger.aliases["m_2"][0] == alias


async def test_of_many_merges_at_once_the_members_are_one_tree(pair: Running) -> None:
    await make(pair, "m_3")
    pairs = [(a, b) for a in ("m_1", "m_2", "m_3") for b in ("m_1", "m_2", "m_3") if a != b]
    for _ in range(3):
        await asyncio.gather(*(outcomes(pair.member("MergeProfiles", merge(a, b))) for a, b in pairs))
    roots = {(await get(pair, one)).member_id for one in ("m_1", "m_2", "m_3")}
    assert len(roots) == 1
    assert await values(pair, roots.pop()) == ["a", "b"]


async def test_a_member_moves_on_only_when_what_is_below_it_has_come(pair: Running) -> None:
    await make(pair, "m_3")
    pair.ledger.down = True
    assert await reason(pair.member("MergeProfiles", merge())) == "UNAVAILABLE"
    pair.ledger.down = False
    assert await reason(pair.member("MergeProfiles", merge("m_3", "m_1"))) == "UNAVAILABLE"
    assert await worker(pair.service, "members.sync")() == 1
    await pair.member("MergeProfiles", merge("m_3", "m_1"))
    assert (await get(pair, "m_2")).member_id == "m_3"
