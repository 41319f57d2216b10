"""Relations of members: read, ended and linked again, and whose they are when many want them at once (G45)."""

import asyncio

from rewards.identity.v1 import members_pb2 as pb
from sqlalchemy import select

from identity_svc.members import tables as member_tables
from identity_svc.tests.running import Running, outcomes, reason
from identity_svc.tests.test_members import create, link


def unlink(value: str, member_id: str = "m_1") -> pb.UnlinkSubRelationRequest:
    return pb.UnlinkSubRelationRequest(member_id=member_id, type="crm", value=value)


async def values(identity: Running, member_id: str) -> list[str]:
    answer = await identity.member("GetSubRelations", pb.GetSubRelationsRequest(member_id=member_id))
    return [one.value for one in answer.relations]


async def test_a_relation_is_ended_and_linked_to_another(identity: Running) -> None:
    await identity.member("CreateProfileWithAttributes", create("m_1", crm="e\u0301"))
    await identity.member("CreateProfileWithAttributes", create("m_2"))
    await identity.member("LinkSubRelation", link("b"))
    assert await reason(identity.member("LinkSubRelation", link("\u00e9", "m_2"))) == "RELATION_TAKEN"
    # As Unicode writes it otherwise; a repeat with its key is the first answer.
    first = await identity.member("UnlinkSubRelation", unlink("\u00e9"), "k")
    assert [one.value for one in first.relations] == ["b"]
    assert await reason(identity.member("UnlinkSubRelation", unlink("\u00e9"))) == "RELATION_NOT_FOUND"
    await identity.member("LinkSubRelation", link("\u00e9", "m_2"))
    assert await identity.member("UnlinkSubRelation", unlink("\u00e9"), "k") == first
    assert (await values(identity, "m_1"), await values(identity, "m_2")) == (["b"], ["\u00e9"])
    # What was is kept, unreadable without the member's key.
    async with identity.db.read() as tx:
        (past,) = (await tx.execute(select(member_tables.past_relations))).all()
    assert (past.member_id, past.type, past.linked_at <= past.unlinked_at) == ("m_1", "crm", True)


async def test_nobody_ends_anothers_relation(identity: Running) -> None:
    await identity.member("CreateProfileWithAttributes", create("m_1", crm="a"))
    await identity.member("CreateProfileWithAttributes", create("m_2"))
    assert await reason(identity.member("UnlinkSubRelation", unlink("a", "m_2"))) == "RELATION_NOT_FOUND"
    assert await reason(identity.member("UnlinkSubRelation", unlink("a", "m_9"))) == "MEMBER_NOT_FOUND"
    assert await values(identity, "m_1") == ["a"]


async def test_a_relation_that_is_ended_and_wanted_at_once_has_one_member(identity: Running) -> None:
    for member_id in ("m_1", "m_2", "m_3"):
        await identity.member("CreateProfileWithAttributes", create(member_id))
    for n in range(5):
        await identity.member("LinkSubRelation", link(f"{n}"))
        await outcomes(
            identity.member("UnlinkSubRelation", unlink(f"{n}")),
            identity.member("LinkSubRelation", link(f"{n}", "m_2")),
            identity.member("LinkSubRelation", link(f"{n}", "m_3")),
            identity.member("UnlinkSubRelation", unlink(f"{n}")),
        )
    held = await asyncio.gather(*(values(identity, member_id) for member_id in ("m_1", "m_2", "m_3")))
    every = [value for has in held for value in has]
    assert len(every) == len(set(every))
    assert held[0] == []
