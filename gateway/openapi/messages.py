"""JSON Schemas of messages, as they are sent and as they are answered.

The two differ. A request refuses what it does not know, and must have what protovalidate refuses to miss. An answer
always has its scalars and lists, also where they are zero, and may get new fields at any time.
"""

from collections.abc import Collection
from typing import Final

import protovalidate
from buf.validate import validate_pb2
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from gateway.openapi.comments import Comments
from gateway.openapi.examples import example
from gateway.openapi.rules import Schema, keywords, rules_of

# Beyond it a number is not exact for a caller who reads JSON numbers as doubles.
EXACT_MAX: Final = 9_007_199_254_740_992
_INT32_MAX: Final = 2_147_483_647
_INT64: Final = {"type": "integer", "format": "int64", "minimum": -EXACT_MAX, "maximum": EXACT_MAX}
_INT32: Final = {"type": "integer", "format": "int32", "minimum": -_INT32_MAX, "maximum": _INT32_MAX}
_SCALARS: Final[dict[int, Schema]] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number"},
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_UINT32: _INT64,
    FieldDescriptor.TYPE_UINT64: _INT64,
}
_WELL_KNOWN: Final[dict[str, Schema]] = {
    "google.api.HttpBody": {},
    "google.protobuf.DoubleValue": {"type": "number"},
    "google.protobuf.Int64Value": _INT64,
    "google.protobuf.StringValue": {"type": "string"},
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Value": {},
}


class Messages:
    """Makes schemas, and collects in `schemas` what they refer to."""

    def __init__(self, descriptors: FileDescriptorSet, comments: Comments) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        for file in descriptors.file:
            self._pool.Add(file)
        self._comments = comments
        self.schemas: dict[str, Schema] = {}

    def find(self, full_name: str) -> Descriptor:
        """The message of that name."""
        found: Descriptor = self._pool.FindMessageTypeByName(full_name)
        return found

    def request(self, message: Descriptor, without: Collection[str] = ()) -> Schema:
        """What is sent as `message`; `without` are JSON names that stand elsewhere, so the schema is one of its own."""
        return self._closed(message, without) if without else self._refer(message, sent=True)

    def answer(self, message: Descriptor) -> Schema:
        """What is answered as `message`."""
        return self._refer(message, sent=False)

    def field(self, field: FieldDescriptor, *, sent: bool) -> Schema:
        """The schema of a field, with what its proto says of it."""
        rules = rules_of(field)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            schema: Schema = {"type": "object", "additionalProperties": self._one(value, rules, sent=sent)}
        elif field.is_repeated:
            items = self._one(field, rules.repeated.items, sent=sent)
            schema = {"type": "array", "items": items, **(keywords(rules) if sent else {})}
        else:
            schema = self._one(field, rules, sent=sent)
        text = self._comments.of(field.full_name)
        found = example(field.full_name.split(".")[-2], field.json_name, schema)
        return {**schema, **({"description": text} if text else {}), **({"examples": [found]} if found else {})}

    def required(self, message: Descriptor) -> tuple[set[str], set[str]]:
        """Names of the fields, and of the oneofs, without which protovalidate refuses the message."""
        empty = message_factory.GetMessageClass(message)()
        found = [violation.proto.field for violation in protovalidate.collect_violations(empty)]
        names = {path.elements[0].field_name for path in found if path and path.elements}
        return names & set(message.fields_by_name), names & set(message.oneofs_by_name)

    def _refer(self, message: Descriptor, *, sent: bool) -> Schema:
        known = _WELL_KNOWN.get(message.full_name)
        if known is not None:
            return dict(known)
        name = _short(message.full_name) + ("Input" if sent and not message.name.endswith("Request") else "")
        if name not in self.schemas:
            self.schemas[name] = {}  # before its fields: a message may hold itself
            self.schemas[name] = self._closed(message, ()) if sent else self._open(message)
        return {"$ref": f"#/components/schemas/{name}"}

    def _closed(self, message: Descriptor, without: Collection[str]) -> Schema:
        fields = {field.json_name: field for field in message.fields if field.json_name not in without}
        must, one_of = self.required(message)
        schema = self._object(message, fields, sent=True)
        schema["additionalProperties"] = False
        required = [name for name, field in fields.items() if field.name in must]
        if required:
            schema["required"] = required
        for name in one_of:
            members = [field.json_name for field in message.oneofs_by_name[name].fields]
            schema["oneOf"] = [{"required": [member]} for member in members if member in fields]
        return schema

    def _open(self, message: Descriptor) -> Schema:
        fields = {field.json_name: field for field in message.fields}
        schema = self._object(message, fields, sent=False)
        always = [name for name, field in fields.items() if field.is_repeated or not field.has_presence]
        return {**schema, **({"required": always} if always else {})}

    def _object(self, message: Descriptor, fields: dict[str, FieldDescriptor], *, sent: bool) -> Schema:
        text = self._comments.of(message.full_name)
        properties = {name: self.field(field, sent=sent) for name, field in fields.items()}
        return {"type": "object", **({"description": text} if text else {}), "properties": properties}

    def _one(self, field: FieldDescriptor, rules: validate_pb2.FieldRules, *, sent: bool) -> Schema:
        if field.message_type is not None:
            return self._refer(field.message_type, sent=sent)
        if field.enum_type is not None:
            return self._enum(field.enum_type, set(getattr(rules.enum, "in")) if sent else set())
        return {**_SCALARS[field.type], **(keywords(rules) if sent else {})}

    def _enum(self, enum: EnumDescriptor, only: set[int]) -> Schema:
        # The zero value says that nobody chose: the gateway refuses it, and an answer never has it.
        values = [value for value in enum.values if value.number and (not only or value.number in only)]
        if only:
            return {"type": "string", "enum": [value.name for value in values]}
        name = _short(enum.full_name)
        said = [f"- `{v.name}`: {self._comments.of(f'{enum.full_name}.{v.name}')}" for v in values]
        text = "\n".join([self._comments.of(enum.full_name), "", *said])
        self.schemas[name] = {"type": "string", "enum": [value.name for value in values], "description": text}
        return {"$ref": f"#/components/schemas/{name}"}


def _short(full_name: str) -> str:
    """For example "rewards.ledger.v1.Redemption" as "ledger.Redemption": two services may have
    messages of one name."""
    package, _, name = full_name.removeprefix("rewards.").partition(".v1.")
    return f"{package}.{name}"
