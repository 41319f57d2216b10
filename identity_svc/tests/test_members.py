"""Members over gRPC, through the real interceptors, with a ledger that writes down what it is told."""

import asyncio
import json
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from rewards.identity.v1 import members_pb2 as pb
from sqlalchemy import select, text

from identity_svc import tables
from identity_svc.tests.running import WRITER, Running, outcomes, reason, refusal, worker
from svckit.testing import partner

OTHER = partner("other", "members:write", "members:read")


def create(member_id: str = "m_1", *, crm: str = "", **attributes: Any) -> pb.CreateProfileWithAttributesRequest:
    relations = [pb.Relation(type="crm", value=crm)] if crm else []
    return pb.CreateProfileWithAttributesRequest(
        member_id=member_id, attributes=_struct(attributes), relations=relations
    )


def updating(member_id: str = "m_1", *, status: str = "", etag: str = "", **attributes: Any) -> pb.UpdateProfileRequest:
    request = pb.UpdateProfileRequest(member_id=member_id, etag=etag, attributes=_struct(attributes))
    if status:
        request.status = pb.Member.Status.Value(status)
    return request


def link(value: str, member_id: str = "m_1") -> pb.LinkSubRelationRequest:
    return pb.LinkSubRelationRequest(member_id=member_id, type="crm", value=value)


def _struct(attributes: dict[str, Any]) -> Struct:
    struct = Struct()
    struct.update(attributes)
    return struct


async def get(identity: Running, member_id: str = "m_1") -> pb.Member:
    answer = await identity.member("GetProfile", pb.GetProfileRequest(member_id=member_id))
    member: pb.Member = answer.member
    return member


async def test_a_member_is_made_read_and_known_to_the_ledger(identity: Running) -> None:
    answer = await identity.member("CreateProfileWithAttributes", create(crm="c-1", city="Bonn", tags=["a", "b"]))
    member = answer.member
    assert (member.member_id, member.status) == ("m_1", pb.Member.ACTIVE)
    assert dict(member.attributes)["city"] == "Bonn"
    assert [(one.type, one.value) for one in member.relations] == [("crm", "c-1")]
    assert identity.ledger.members == [("acme", "m_1", True, 1)]
    assert await get(identity) == member


async def test_a_member_id_is_made_where_none_is_sent(identity: Running) -> None:
    first = await identity.member("CreateProfileWithAttributes", create(""), "one")
    again = await identity.member("CreateProfileWithAttributes", create(""), "one")
    other = await identity.member("CreateProfileWithAttributes", create(""))
    assert first == again
    assert first.member.member_id.startswith("m_")
    assert other.member.member_id != first.member.member_id


async def test_a_replay_is_the_first_answer_also_after_changes(identity: Running) -> None:
    first = await identity.member("CreateProfileWithAttributes", create(city="Bonn"), "one")
    await identity.member("UpdateProfile", updating(city="Köln"))
    again = await identity.member("CreateProfileWithAttributes", create(city="Bonn"), "one")
    assert again == first
    assert dict((await get(identity)).attributes) == {"city": "Köln"}
    assert (
        await reason(identity.member("CreateProfileWithAttributes", create(city="Ulm"), "one"))
        == "IDEMPOTENCY_KEY_REUSED"
    )


async def test_a_taken_member_id_and_a_taken_relation_are_refused(identity: Running) -> None:
    await identity.member("CreateProfileWithAttributes", create(crm="c-1"))
    assert await reason(identity.member("CreateProfileWithAttributes", create())) == "MEMBER_EXISTS"
    refused = await refusal(identity.member("CreateProfileWithAttributes", create("m_2", crm="c-1")))
    assert (refused.message, refused.detail) == ("The relation belongs to another member.", None)
    # The refused member left nothing behind.
    assert await reason(get(identity, "m_2")) == "MEMBER_NOT_FOUND"
    assert identity.ledger.members == [("acme", "m_1", True, 1)]


async def test_of_many_at_once_one_gets_the_id_and_one_gets_the_relation(identity: Running) -> None:
    made = await outcomes(*(identity.member("CreateProfileWithAttributes", create()) for _ in range(8)))
    assert sorted(map(str, (one for one in made if isinstance(one, str)))) == ["MEMBER_EXISTS"] * 7
    for n in range(2, 8):
        await identity.member("CreateProfileWithAttributes", create(f"m_{n}"))
    linked = await outcomes(*(identity.member("LinkSubRelation", link("c-1", f"m_{n}")) for n in range(2, 8)))
    assert [one for one in linked if isinstance(one, str)] == ["RELATION_TAKEN"] * 5


async def test_many_copies_with_one_key_make_one_member(identity: Running) -> None:
    calls = [identity.member("CreateProfileWithAttributes", create(""), "one") for _ in range(10)]
    answers = await asyncio.gather(*calls)
    assert len({answer.member.member_id for answer in answers}) == 1


async def test_a_link_is_made_once_and_in_one_spelling_of_unicode(identity: Running) -> None:
    await identity.member("CreateProfileWithAttributes", create())
    await identity.member("CreateProfileWithAttributes", create("m_2"))
    before = (await get(identity)).etag
    answer = await identity.member("LinkSubRelation", link("Zo\u00eb"))
    assert [one.value for one in answer.relations] == ["Zo\u00eb"]
    after = (await get(identity)).etag
    assert after != before
    again = await identity.member("LinkSubRelation", link("Zoe\u0308"))
    assert [one.value for one in again.relations] == ["Zo\u00eb"]
    assert (await get(identity)).etag == after
    assert await reason(identity.member("LinkSubRelation", link("Zoe\u0308", "m_2"))) == "RELATION_TAKEN"
    assert await reason(identity.member("LinkSubRelation", link("x", "m_unknown"))) == "MEMBER_NOT_FOUND"


async def test_an_update_merges_and_a_null_removes(identity: Running) -> None:
    made = (await identity.member("CreateProfileWithAttributes", create(city="Bonn", vip=True))).member
    changed = (await identity.member("UpdateProfile", updating(city=None, tier="gold", etag=made.etag))).member
    assert dict(changed.attributes) == {"tier": "gold", "vip": True}
    assert changed.etag != made.etag
    assert await reason(identity.member("UpdateProfile", updating(tier="x", etag=made.etag))) == "CONFLICT"
    assert await get(identity) == changed
    assert await reason(identity.member("UpdateProfile", updating("m_unknown"))) == "MEMBER_NOT_FOUND"
    # Nothing that the ledger must know has changed.
    assert identity.ledger.members == [("acme", "m_1", True, 1)]


async def test_a_status_reaches_the_ledger_and_the_audit_trail(identity: Running) -> None:
    await identity.member("CreateProfileWithAttributes", create())
    for status in ("LOGIN_BLOCKED", "SUSPENDED", "SUSPENDED", "CANCELLED", "ACTIVE"):
        answer = await identity.member("UpdateProfile", updating(status=status))
        assert pb.Member.Status.Name(answer.member.status) == status
    assert identity.ledger.members == [("acme", "m_1", True, 1), ("acme", "m_1", False, 3), ("acme", "m_1", True, 5)]
    async with identity.db.read() as tx:
        audit = tables.audit.c
        query = select(audit.actor, audit.action).where(audit.target == "m_1").order_by(audit.audit_id)
        rows = (await tx.execute(query)).all()
    assert [row.action.rpartition(".")[2] for row in rows] == ["login_blocked", "suspended", "cancelled", "active"]
    assert {row.actor for row in rows} == {WRITER.name}


async def test_updates_at_once_are_all_kept(identity: Running) -> None:
    await identity.member("CreateProfileWithAttributes", create())
    await asyncio.gather(*(identity.member("UpdateProfile", updating(**{f"a{n}": "x"})) for n in range(8)))
    assert len((await get(identity)).attributes) == 8


async def test_no_answer_before_the_ledger_knows_and_a_retry_completes_it(identity: Running) -> None:
    identity.ledger.down = True
    assert await reason(identity.member("CreateProfileWithAttributes", create(), "one")) == "UNAVAILABLE"
    identity.ledger.down = False
    answer = await identity.member("CreateProfileWithAttributes", create(), "one")
    assert answer.member.member_id == "m_1"
    assert identity.ledger.members == [("acme", "m_1", True, 1)]


async def test_the_worker_tells_the_ledger_what_a_crash_kept_from_it(identity: Running) -> None:
    identity.ledger.down = True
    assert await reason(identity.member("CreateProfileWithAttributes", create())) == "UNAVAILABLE"
    sync = worker(identity.service, "members.sync")
    identity.ledger.down = False
    assert await sync() == 1
    assert identity.ledger.members == [("acme", "m_1", True, 1)]
    assert await sync() == 0


async def test_the_outbox_tells_of_a_new_member_by_its_id_alone(identity: Running) -> None:
    await identity.member("CreateProfileWithAttributes", create(city="Bonn"))
    assert await worker(identity.service, "outbox.relay")() == 1
    (event,) = identity.neighbours["fulfillment_svc"].events
    assert (event.program_id, event.type, event.member_id) == ("acme", "member.created", "m_1")
    assert json.loads(event.data_json) == {"memberId": "m_1"}


async def test_a_member_lives_in_the_programs_time(identity: Running) -> None:
    await identity.db.transact(lambda tx: tx.execute(text("UPDATE programs SET clock_offset_s = 86400")))
    member = (await identity.member("CreateProfileWithAttributes", create())).member
    assert abs(member.created_at.seconds - identity.clocks.now.timestamp() - 86_400) < 2


async def test_another_programs_member_looks_like_no_member(identity: Running) -> None:
    await identity.member("CreateProfileWithAttributes", create(crm="c-1"))
    for known, unknown in (
        (pb.GetProfileRequest(member_id="m_1"), pb.GetProfileRequest(member_id="m_9")),
        (updating("m_1"), updating("m_9")),
        (link("x", "m_1"), link("x", "m_9")),
    ):
        name = type(known).__name__.removesuffix("Request")
        if name == "LinkSubRelation":
            await identity.db.transact(
                lambda tx: tx.execute(
                    text(
                        "INSERT INTO programs SELECT 'other', name, mode, time_zone, currency, asset,"
                        " points_per_unit, clock_offset_s, version FROM programs"
                    )
                )
            )
        one, two = [await refusal(identity.member(name, request, caller=OTHER)) for request in (known, unknown)]
        assert (one.reason, one.message, one.detail) == (two.reason, two.message, two.detail)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (create("has space"), "memberId"),
        (create(secret={"nested": 1}), "attributes.secret"),
        (create(secret=float("nan")), "attributes.secret"),
        (create(crm="a\u200bb"), "relations[0].value"),
        (create(crm="x" * 256), "relations[0].value"),
        (updating(secret=[["x"]]), "attributes.secret"),
        (link("a\u202eb"), "value"),
    ],
)
async def test_what_cannot_be_kept_is_refused_by_name(identity: Running, request_: Any, field: str) -> None:
    name = type(request_).__name__.removesuffix("Request")
    refused = await refusal(identity.member(name, request_))
    assert refused.message.startswith(field)


async def test_no_personal_data_is_in_the_database_in_the_clear(identity: Running) -> None:
    await identity.member("CreateProfileWithAttributes", create(crm="canary-relation", email="canary@example.com"))
    await identity.member("UpdateProfile", updating(name="canary-name"))
    await identity.member("LinkSubRelation", link("canary-link"))
    async with identity.db.read() as tx:
        for table in tables.metadata.sorted_tables:
            assert "canary" not in str((await tx.execute(select(table))).all()), table.name
