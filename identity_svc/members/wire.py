"""Members to and from protobuf."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from rewards.identity.v1 import attributes_pb2, privacy_pb2
from rewards.identity.v1 import members_pb2 as pb

from identity_svc.members import rules
from identity_svc.members.privacy_store import SealedPast
from identity_svc.members.rules import Attributes, Change, Member, Relation, Status
from identity_svc.members.schema import Definition, Type, check_definitions


def new_member(
    request: pb.CreateProfileWithAttributesRequest, program_id: str, generated_id: str, at: datetime
) -> Member:
    """The member that a request wants made. Raises INVALID_REQUEST that names what cannot be kept."""
    relations = [Relation(sent.type, sent.value) for sent in request.relations]
    for index, one in enumerate(relations):
        rules.check_relation(one, f"relations[{index}].value")
    return Member(
        program_id=program_id,
        member_id=request.member_id or generated_id,
        created_at=at,
        attributes=rules.merged({}, attributes(request.attributes)),
        relations=tuple(sorted(set(relations))),
    )


def change(request: pb.UpdateProfileRequest) -> Change:
    """The change that a request wants. Raises INVALID_REQUEST that names what cannot be kept."""
    sent = attributes(request.attributes)
    # Checked here as well as on merging, so that a bad value is refused before anything is looked up.
    rules.merged({}, sent)
    status = Status(pb.Member.Status.Name(request.status)) if request.status else None
    return Change(sent, status, request.etag)


def relation(request: pb.LinkSubRelationRequest | pb.UnlinkSubRelationRequest) -> Relation:
    """The relation that a request names. Raises INVALID_REQUEST."""
    wanted = Relation(request.type, request.value)
    rules.check_relation(wanted, "value")
    return wanted


def message(member: Member) -> pb.Member:
    """The member as it leaves the process."""
    return pb.Member(
        member_id=member.member_id,
        status=pb.Member.Status.Value(member.status),
        attributes=_struct(member.attributes),
        relations=relations(member),
        created_at=timestamp(member.created_at),
        etag=member.etag,
    )


def timestamp(at: datetime) -> Timestamp:
    """An instant as protobuf has it."""
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def alias(member: Member) -> privacy_pb2.ExportMemberResponse.Alias:
    """A merged member as its survivor's export shows it."""
    return privacy_pb2.ExportMemberResponse.Alias(
        member_id=member.member_id, attributes=_struct(member.attributes), created_at=timestamp(member.created_at)
    )


def past_relation(past: SealedPast, value: str) -> privacy_pb2.ExportMemberResponse.PastRelation:
    """A relation that has ended as an export shows it."""
    return privacy_pb2.ExportMemberResponse.PastRelation(
        type=past.type, value=value, linked_at=timestamp(past.linked_at), unlinked_at=timestamp(past.unlinked_at)
    )


def relations(member: Member) -> list[pb.Relation]:
    """The member's relations, in order of type and value."""
    return [pb.Relation(type=one.type, value=one.value) for one in member.relations]


def definitions(request: attributes_pb2.PutAttributeDefinitionsRequest) -> dict[str, Definition]:
    """The definitions that a request wants, by name. Raises INVALID_REQUEST for what cannot be."""
    return check_definitions(
        Definition(
            name=one.name,
            type=Type(attributes_pb2.AttributeDefinition.Type.Name(one.type)),
            required=one.required,
            unique=one.unique,
            personal_data=one.personal_data,
        )
        for one in request.attribute_definitions
    )


def defined(found: Iterable[Definition]) -> list[attributes_pb2.AttributeDefinition]:
    """Definitions as they leave the process, in order of name."""
    return [
        attributes_pb2.AttributeDefinition(
            name=one.name,
            type=attributes_pb2.AttributeDefinition.Type.Value(one.type),
            required=one.required,
            unique=one.unique,
            personal_data=one.personal_data,
        )
        for one in sorted(found, key=lambda one: one.name)
    ]


def attributes(sent: Struct) -> dict[str, Any]:
    """Attributes as plain values; an object, which no attribute may be, becomes an empty dict."""
    return {name: _plain(value) for name, value in sent.fields.items()}


def _struct(attributes: Attributes) -> Struct:
    struct = Struct()
    struct.update(attributes)
    return struct


def _plain(value: Value) -> object:
    if value.WhichOneof("kind") == "list_value":
        return [_scalar(element) for element in value.list_value.values]
    return _scalar(value)


def _scalar(value: Value) -> object:
    match value.WhichOneof("kind"):
        case "string_value" | "number_value" | "bool_value" as kind:
            return getattr(value, kind)
        case "struct_value" | "list_value":
            return {}
        case _:
            return None
