"""What a program says of its members' attributes, and finding members by them."""

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from rewards.identity.v1 import attributes_pb2 as pb
from rewards.identity.v1 import members_pb2, programs_pb2
from rewards.identity.v1.attributes_pb2_grpc import AttributesServiceStub

from identity_svc.members.schema import Definition, Schema, Type, conditions
from identity_svc.tests.running import PROGRAM, WRITER, Running, outcomes, reason, refusal
from identity_svc.tests.test_members import create, updating
from svckit.call import Principal
from svckit.errors import Refused
from svckit.testing import partner

EMAIL = pb.AttributeDefinition(
    name="email", type=pb.AttributeDefinition.STRING, required=True, unique=True, personal_data=True
)
CITY = pb.AttributeDefinition(name="city", type=pb.AttributeDefinition.STRING)
AGE = pb.AttributeDefinition(name="age", type=pb.AttributeDefinition.NUMBER)
VIP = pb.AttributeDefinition(name="vip", type=pb.AttributeDefinition.BOOLEAN)
TAGS = pb.AttributeDefinition(name="tags", type=pb.AttributeDefinition.LIST)


async def define(identity: Running, *definitions: pb.AttributeDefinition, caller: Principal = WRITER) -> Any:
    request = pb.PutAttributeDefinitionsRequest(attribute_definitions=definitions)
    return await identity.call(AttributesServiceStub, "PutAttributeDefinitions", request, caller)


async def make(identity: Running, member_id: str, **attributes: Any) -> members_pb2.Member:
    answer = await identity.member("CreateProfileWithAttributes", create(member_id, **attributes))
    made: members_pb2.Member = answer.member
    return made


async def found(identity: Running, filter_: str, size: int = 0, token: str = "") -> members_pb2.ListMembersResponse:
    request = members_pb2.ListMembersRequest(filter=filter_, page_size=size, page_token=token)
    answer: members_pb2.ListMembersResponse = await identity.member("ListMembers", request)
    return answer


def ids(answer: members_pb2.ListMembersResponse) -> list[str]:
    return [member.member_id for member in answer.members]


def by(name: str, value: str) -> members_pb2.GetProfileByAttributeRequest:
    return members_pb2.GetProfileByAttributeRequest(name=name, value=value)


async def test_definitions_are_replaced_and_read_in_order(identity: Running) -> None:
    assert list((await define(identity, TAGS, CITY)).attribute_definitions) == [CITY, TAGS]
    assert list((await define(identity, EMAIL)).attribute_definitions) == [EMAIL]
    request = pb.GetAttributeDefinitionsRequest()
    read = await identity.call(AttributesServiceStub, "GetAttributeDefinitions", request, WRITER)
    assert list(read.attribute_definitions) == [EMAIL]


@pytest.mark.parametrize(
    ("definitions", "field"),
    [
        ([CITY, CITY], "attributeDefinitions[1].name"),
        ([pb.AttributeDefinition(name="l", type=pb.AttributeDefinition.LIST, unique=True)], "attributeDefinitions[0]"),
        ([pb.AttributeDefinition(name="x")], "attributeDefinitions[0].type"),
        ([pb.AttributeDefinition(name="1", type=pb.AttributeDefinition.LIST)], "attributeDefinitions[0].name"),
    ],
)
async def test_definitions_that_cannot_be_are_refused(
    identity: Running, definitions: list[pb.AttributeDefinition], field: str
) -> None:
    refused = await refusal(define(identity, *definitions))
    assert refused.message.startswith(field)


async def test_what_the_definitions_do_not_allow_is_refused_by_name(identity: Running) -> None:
    await make(identity, "m_0", city="Bonn")
    await define(identity, EMAIL, AGE, VIP, TAGS, CITY)
    sent: list[tuple[dict[str, Any], str]] = [
        ({}, "attributes.email is required"),
        ({"email": 1.0}, "attributes.email must be a string"),
        ({"email": "a", "age": "old"}, "attributes.age must be a number"),
        ({"email": "a", "age": True}, "attributes.age must be a number"),
        ({"email": "a", "vip": 1.0}, "attributes.vip must be a boolean"),
        ({"email": "a", "tags": "x"}, "attributes.tags must be a list"),
    ]
    for attributes, said in sent:
        refused = await refusal(identity.member("CreateProfileWithAttributes", create("m_1", **attributes)))
        assert refused.message == said
    await make(identity, "m_1", email="a", age=5.0, vip=True, tags=["x", 1.0], undefined="kept")
    removed = members_pb2.UpdateProfileRequest(member_id="m_1", attributes=Struct())
    removed.attributes.update({"email": None})
    assert (await refusal(identity.member("UpdateProfile", removed))).message.startswith("attributes.email is required")
    # Who was there before the definition is not held to it, as long as nobody writes what it forbids.
    await identity.member("UpdateProfile", updating("m_0", city="Köln"))


async def test_a_program_may_refuse_what_it_has_not_defined(identity: Running) -> None:
    program = programs_pb2.Program()
    program.CopyFrom(PROGRAM)
    program.policy.refuse_unknown_attributes = True
    await identity.operate("PutProgram", programs_pb2.PutProgramRequest(program=program))
    await define(identity, CITY)
    refused = await refusal(identity.member("CreateProfileWithAttributes", create(city="Bonn", town="Bonn")))
    assert refused.message == "attributes.town is not an attribute of this program"
    await make(identity, "m_1", city="Bonn")


async def test_one_member_has_a_value_of_a_unique_attribute(identity: Running) -> None:
    await define(identity, EMAIL)
    made = await outcomes(
        *(identity.member("CreateProfileWithAttributes", create(f"m_{n}", email="e\u0301@x")) for n in range(8))
    )
    assert [one for one in made if isinstance(one, str)] == ["ATTRIBUTE_TAKEN"] * 7
    winner = next(one.member.member_id for one in made if not isinstance(one, str))  # type: ignore[attr-defined]
    # The other way in which Unicode writes it.
    assert (await identity.member("GetProfileByAttribute", by("email", "\u00e9@x"))).member.member_id == winner
    await make(identity, "m_other", email="other")
    taken = identity.member("UpdateProfile", updating("m_other", email="\u00e9@x"))
    assert await reason(taken) == "ATTRIBUTE_TAKEN"
    await identity.member("UpdateProfile", updating(winner, email="new"))
    await identity.member("UpdateProfile", updating("m_other", email="\u00e9@x"))
    assert (await identity.member("GetProfileByAttribute", by("email", "\u00e9@x"))).member.member_id == "m_other"


async def test_two_members_that_swap_a_unique_value_keep_it_unique(identity: Running) -> None:
    await define(identity, EMAIL)
    await make(identity, "m_1", email="a")
    await make(identity, "m_2", email="b")
    await outcomes(*(identity.member("UpdateProfile", updating(m, email=e)) for m, e in (("m_1", "b"), ("m_2", "a"))))
    values = [
        dict((await identity.member("GetProfile", members_pb2.GetProfileRequest(member_id=m))).member.attributes)
        for m in ("m_1", "m_2")
    ]
    assert values[0] != values[1]


async def test_an_attribute_becomes_unique_only_where_it_is(identity: Running) -> None:
    await make(identity, "m_1", email="same")
    await make(identity, "m_2", email="same")
    assert await reason(define(identity, EMAIL)) == "ATTRIBUTE_TAKEN"
    assert await reason(identity.member("GetProfileByAttribute", by("email", "same"))) == "MEMBER_NOT_FOUND"
    await identity.member("UpdateProfile", updating("m_2", email="other"))
    await define(identity, EMAIL)
    assert await reason(identity.member("UpdateProfile", updating("m_2", email="same"))) == "ATTRIBUTE_TAKEN"
    assert (await identity.member("GetProfileByAttribute", by("email", "same"))).member.member_id == "m_1"
    await define(identity)
    await identity.member("UpdateProfile", updating("m_2", email="same"))


async def test_an_attribute_that_becomes_unique_while_members_are_made_is_unique(identity: Running) -> None:
    makes = [identity.member("CreateProfileWithAttributes", create(f"m_{n}", email="same")) for n in range(6)]
    made = await outcomes(*makes[:3], define(identity, EMAIL), *makes[3:])
    members = [one for one in made if isinstance(one, members_pb2.CreateProfileWithAttributesResponse)]
    assert (len(members) == 1) == ("ATTRIBUTE_TAKEN" not in made[3:4])


async def test_a_member_is_found_by_a_relation_and_by_nothing_that_is_shared(identity: Running) -> None:
    await define(identity, CITY)
    await identity.member("CreateProfileWithAttributes", create("m_1", crm="c-1", city="Bonn"))
    assert (await identity.member("GetProfileByAttribute", by("crm", "c-1"))).member.member_id == "m_1"
    assert await reason(identity.member("GetProfileByAttribute", by("crm", "c-2"))) == "MEMBER_NOT_FOUND"
    assert await reason(identity.member("GetProfileByAttribute", by("city", "Bonn"))) == "INVALID_REQUEST"
    other = identity.member("GetProfileByAttribute", by("crm", "c-1"), caller=partner("acme", "members:write"))
    assert await reason(other) == "PERMISSION_DENIED"


async def test_members_are_found_page_by_page(identity: Running) -> None:  # G63
    await define(identity, CITY, VIP, AGE)
    for n in range(5):
        await make(identity, f"m_{n}", city="Bonn", vip=n % 2 == 0, age=float(n))
    await make(identity, "m_a", city='B "q"')
    assert ids(await found(identity, 'city = "Bonn" AND vip = true')) == ["m_0", "m_2", "m_4"]
    assert ids(await found(identity, "age=3.0")) == ["m_3"]
    assert ids(await found(identity, 'city = "B \\"q\\""')) == ["m_a"]
    assert ids(await found(identity, "")) == ["m_0", "m_1", "m_2", "m_3", "m_4", "m_a"]
    first = await found(identity, 'city = "Bonn"', 2)
    assert ids(first) == ["m_0", "m_1"]
    await make(identity, "m_00", city="Bonn")  # before the place: it shifts nothing
    await make(identity, "m_2b", city="Bonn")  # after it: it is found
    rest = await found(identity, 'city = "Bonn"', 3, first.next_page_token)
    assert ids(rest) == ["m_2", "m_2b", "m_3"]
    last = await found(identity, 'city = "Bonn"', 3, rest.next_page_token)
    assert (ids(last), last.next_page_token) == (["m_4"], "")
    assert await reason(found(identity, 'city = "Ulm"', 2, first.next_page_token)) == "INVALID_REQUEST"
    await identity.member("UpdateProfile", updating("m_3", city="Ulm"))
    assert ids(await found(identity, 'city = "Ulm"')) == ["m_3"]


SCHEMA = Schema(
    {
        one.name: one
        for one in (
            Definition("city", Type.STRING),
            Definition("age", Type.NUMBER),
            Definition("vip", Type.BOOLEAN),
            Definition("email", Type.STRING, personal_data=True),
            Definition("tags", Type.LIST),
        )
    }
)


@pytest.mark.parametrize(
    "filter_",
    [
        "city",
        'city = "Bonn" OR vip = true',
        'city = "Bonn" vip = true',
        'city = "Bonn" AND ',
        'AND city = "Bonn"',
        'city = "Bonn"AND',
        "city = 'Bonn'",
        "city = 5",
        'age = "5"',
        "age = 1e999",
        "age = 05",
        "vip = 1",
        'email = "a@b"',
        'tags = "x"',
        'unknown = "x"',
        'city = "x',
        " AND ".join(["vip = true"] * 6),
    ],
)
def test_a_filter_that_cannot_be_is_refused(filter_: str) -> None:
    with pytest.raises(Refused, match=r"^filter "):
        conditions(filter_, SCHEMA)


def test_a_filter_is_read() -> None:
    assert conditions(' city="Bonn" AND age = -1.50 AND vip=false ', SCHEMA) == [
        ("city", "Bonn"),
        ("age", "-1.5"),
        ("vip", "false"),
    ]
    assert conditions("  ", SCHEMA) == []
