"""Erasing members and exporting what is known of them (G52)."""

import pytest
from rewards.identity.v1 import privacy_pb2 as pb
from sqlalchemy import func, select

from identity_svc import tables
from identity_svc.members import tables as member_tables
from identity_svc.tests.running import Running, outcomes, reason, worker
from identity_svc.tests.test_attributes import EMAIL, by, define, found, ids
from identity_svc.tests.test_members import create, get, link, updating
from identity_svc.tests.test_merges import merge, undo
from identity_svc.tests.test_relations import unlink
from svckit.call import Kind, Principal
from svckit.testing import partner


def erase(member_id: str = "m_1") -> pb.EraseMemberRequest:
    return pb.EraseMemberRequest(member_id=member_id)


def export(member_id: str = "m_1") -> pb.ExportMemberRequest:
    return pb.ExportMemberRequest(member_id=member_id)


@pytest.fixture
async def known(identity: Running) -> Running:
    """m_1, with a past, and with m_2 merged into it; m_3 beside them."""
    await define(identity, EMAIL)
    for n in (1, 2, 3):
        request = create(f"m_{n}", crm=f"c-{n}", email=f"e{n}", city="Bonn")
        await identity.member("CreateProfileWithAttributes", request, f"make-{n}")
    await identity.member("UnlinkSubRelation", unlink("c-1"))
    await identity.member("LinkSubRelation", link("c-4"))
    await identity.member("MergeProfiles", merge())
    return identity


async def test_an_export_has_all_that_is_known(known: Running) -> None:
    exported = await known.member("ExportMember", export("m_2"))
    assert exported.member == await get(known)
    assert [(one.member_id, dict(one.attributes)) for one in exported.aliases] == [
        ("m_2", {"email": "e2", "city": "Bonn"})
    ]
    assert [(one.type, one.value) for one in exported.past_relations] == [("crm", "c-1")]
    own = Principal(Kind.MEMBER, "m", "acme", member_id="m_1")
    assert await known.member("ExportMember", export(""), caller=own) == exported
    assert await reason(known.member("ExportMember", export("m_3"), caller=own)) == "MEMBER_NOT_FOUND"
    assert await reason(known.member("ExportMember", export(), caller=partner("acme"))) == "PERMISSION_DENIED"


async def test_erasure_destroys_the_keys_and_what_finds_the_member(known: Running) -> None:
    certificate = (await known.member("EraseMember", erase("m_2"), "k")).certificate
    assert (certificate.member_id, list(certificate.alias_ids), certificate.keys_destroyed) == ("m_1", ["m_2"], 2)
    assert list(certificate.personal_attributes) == ["email"]
    assert (certificate.other_attributes, certificate.relations, len(certificate.kept)) == (1, 3, 5)
    for request, name in ((erase("m_2"), "k"), (erase("m_1"), "other"), (erase("m_2"), "third")):
        assert (await known.member("EraseMember", request, name)).certificate == certificate
    for member_id in ("m_1", "m_2"):
        assert await reason(get(known, member_id)) == "MEMBER_NOT_FOUND"
        assert await reason(known.member("ExportMember", export(member_id))) == "MEMBER_NOT_FOUND"
        assert await reason(known.member("UpdateProfile", updating(member_id))) == "MEMBER_NOT_FOUND"
        assert await reason(known.member("LinkSubRelation", link("x", member_id))) == "MEMBER_NOT_FOUND"
        assert (
            await reason(known.member("CreateProfileWithAttributes", create(member_id, email="n"))) == "MEMBER_EXISTS"
        )
        assert (
            await reason(known.member("GetProfileByAttribute", by("email", f"e{member_id[-1]}"))) == "MEMBER_NOT_FOUND"
        )
    # An answer that was kept for replays is gone with the key.
    again = known.member("CreateProfileWithAttributes", create("m_1", crm="c-1", email="e1", city="Bonn"), "make-1")
    assert await reason(again) == "MEMBER_NOT_FOUND"
    assert await reason(known.member("UnmergeProfiles", undo())) == "MEMBER_NOT_FOUND"
    assert await reason(known.member("MergeProfiles", merge("m_3", "m_1"))) == "MEMBER_NOT_FOUND"
    assert [(one.member_id, one.active) for one in _last(known)] == [("m_1", False), ("m_2", False)]
    # What they had is free for others, and others are as they were.
    await known.member("UpdateProfile", updating("m_3", email="e1"))
    await known.member("LinkSubRelation", link("c-2", "m_3"))
    assert ids(await found(known, "")) == ["m_3"]
    async with known.db.read() as tx:
        left = {
            table.name: await tx.scalar(select(func.count()).where(table.c.member_id.in_(["m_1", "m_2"])))
            for table in tables.metadata.sorted_tables
            if "member_id" in table.c
        }
        assert {name for name, rows in left.items() if rows} <= {"members", "outbox", "erasures"}
        rows = (await tx.execute(select(tables.members.c.attributes).order_by(tables.members.c.member_id))).all()
    assert [bool(row.attributes) for row in rows] == [False, False, True]


class _Told:
    def __init__(self, told: tuple[str, str, bool, int]) -> None:
        _, self.member_id, self.active, _ = told


def _last(known: Running) -> list[_Told]:
    return sorted((_Told(one) for one in known.ledger.members[-2:]), key=lambda one: one.member_id)


async def test_the_ledger_hears_of_an_erasure_also_after_a_crash(known: Running) -> None:
    known.ledger.down = True
    assert await reason(known.member("EraseMember", erase(), "k")) == "UNAVAILABLE"
    known.ledger.down = False
    assert await worker(known.service, "members.sync")() == 2
    assert [(one.member_id, one.active) for one in _last(known)] == [("m_1", False), ("m_2", False)]
    assert (await known.member("EraseMember", erase(), "k")).certificate.member_id == "m_1"
    assert await worker(known.service, "members.sync")() == 0


async def test_who_may_erase_and_whom(known: Running) -> None:
    assert await reason(known.member("EraseMember", erase("m_9"))) == "MEMBER_NOT_FOUND"
    other = partner("other", "members:write")
    assert await reason(known.member("EraseMember", erase(), caller=other)) in ("MEMBER_NOT_FOUND", "NOT_FOUND")
    own = Principal(Kind.MEMBER, "m", "acme", member_id="m_1")
    assert await reason(known.member("EraseMember", erase(), caller=own)) == "PERMISSION_DENIED"


async def test_of_erasures_merges_and_changes_at_once_nothing_survives_the_erasure(known: Running) -> None:
    await outcomes(
        known.member("EraseMember", erase("m_2")),
        known.member("MergeProfiles", merge("m_3", "m_1")),
        known.member("UnmergeProfiles", undo()),
        known.member("UpdateProfile", updating("m_2", city="Ulm")),
        known.member("EraseMember", erase("m_1")),
    )
    async with known.db.read() as tx:
        erased = set(await tx.scalars(select(member_tables.erasures.c.member_id)))
        for table in (
            tables.member_keys,
            tables.relations,
            member_tables.member_attributes,
            member_tables.past_relations,
        ):
            assert not erased & set(await tx.scalars(select(table.c.member_id))), table.name
    assert erased
