"""What the Lua filter has to know of the protos: routes, messages, enums and reasons, as plain tables."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from rewards.errors.v1 import errors_pb2
from rewards.options.v1.options_pb2 import Deprecation

from gateway.envoy import pages
from gateway.openapi.document import PATH
from gateway.surface import ERRORS, HTTP_BODY, ROOTS, Binding, Rpc, family
from gateway.versions import VERSIONS, deprecation, notices

_SCALARS: Final = {
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_BYTES: "string",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_FIXED32: "int64",
    FieldDescriptor.TYPE_FIXED64: "int64",
    FieldDescriptor.TYPE_FLOAT: "double",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_SFIXED32: "int32",
    FieldDescriptor.TYPE_SFIXED64: "int64",
    FieldDescriptor.TYPE_SINT32: "int32",
    FieldDescriptor.TYPE_SINT64: "int64",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_UINT32: "int64",
    FieldDescriptor.TYPE_UINT64: "int64",
}
_WELL_KNOWN: Final = {
    "google.protobuf.Any": "any",
    "google.protobuf.BoolValue": "bool",
    "google.protobuf.DoubleValue": "double",
    "google.protobuf.Duration": "string",
    "google.protobuf.FieldMask": "string",
    "google.protobuf.Int32Value": "int32",
    "google.protobuf.Int64Value": "int64",
    "google.protobuf.ListValue": "list",
    "google.protobuf.StringValue": "string",
    "google.protobuf.Struct": "struct",
    "google.protobuf.Timestamp": "time",
    "google.protobuf.Value": "any",
}

Table = dict[str, Any]

# No RPC: Envoy answers it by itself.
_DOCUMENT: Final[Table] = {
    "label": f"GET {PATH}",
    "method": "GET",
    "path": PATH,
    "verb": "",
    "variables": [],
    "family": "v1",
    "query": {},
    "raw": False,
}


class Schema:
    """Collects the messages and enums that the surface uses, from its requests, answers and error details."""

    def __init__(self, descriptors: FileDescriptorSet, versions: Mapping[str, Deprecation] = VERSIONS) -> None:
        self._versions = versions
        self._pool = descriptor_pool.DescriptorPool()
        for file in descriptors.file:
            self._pool.Add(file)
        self._messages: Table = {}
        self._enums: Table = {}
        for file in descriptors.file:
            if f"{file.package}." == ERRORS:
                for message in file.message_type:
                    self._learn(self._message(ERRORS + message.name))

    def tables(self, rpcs: Iterable[Rpc]) -> Table:
        """Everything the filter reads, for `rpcs`."""
        listed = list(rpcs)
        return {
            "roots": list(ROOTS),
            "rpcs": {rpc.path: True for rpc in listed},
            "routes": [_DOCUMENT, *(self._route(rpc, binding) for rpc in listed for binding in rpc.bindings)],
            "messages": self._messages,
            "enums": self._enums,
            "reasons": reasons(),
            "page": {"headers": pages.HEADERS, "of": pages.refusals()},
        }

    def _route(self, rpc: Rpc, binding: Binding) -> Table:
        request, response = self._message(rpc.request), self._message(rpc.response)
        variables = [_json_path(request, name) for name in binding.variables]
        # The path's own fields are no fields of the body: given there too, one of the two would lose.
        free = {field.json_name: field for field in request.fields if field.json_name not in variables}
        read = [field for field in free.values() if binding.body in {"*", field.name}]
        query = {} if binding.body == "*" else {n: self._field(f) for n, f in free.items() if f not in read}
        raw = binding.body not in {"", "*"} and _type_name(read[0]) == HTTP_BODY
        route: Table = {
            "label": f"{binding.method} {binding.template}",
            "method": binding.method,
            "path": binding.path,
            "verb": binding.verb,
            "variables": variables,
            "family": family(binding.template),
            "query": query,
            "raw": raw,
        }
        ending = deprecation(rpc, binding, self._versions)
        if ending is not None:
            route["notices"] = notices(ending)
        if binding.body and not raw:
            route["body"] = self._body(request, binding, read)
        if rpc.response != HTTP_BODY and route["family"] != "page":
            route["answer"] = self._of_message(response)
            if binding.response_body:
                route["part"] = response.fields_by_name[binding.response_body].json_name
        return route

    def _body(self, request: Descriptor, binding: Binding, read: list[FieldDescriptor]) -> Table:
        if binding.body != "*":
            return self._field(read[0])
        if len(read) == len(request.fields):
            return self._of_message(request)
        name = f"{request.full_name} of {binding.template}"
        self._messages[name] = {field.json_name: self._field(field) for field in read}
        return {"kind": "message", "of": name}

    def _field(self, field: FieldDescriptor) -> Table:
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            return {"kind": "map"}
        item = self._item(field)
        return {"kind": "list", "item": item} if field.is_repeated else item

    def _item(self, field: FieldDescriptor) -> Table:
        if field.message_type is not None:
            return self._of_message(field.message_type)
        if field.enum_type is not None:
            return self._of_enum(field.enum_type)
        return {"kind": _SCALARS[field.type]}

    def _of_message(self, message: Descriptor) -> Table:
        known = _WELL_KNOWN.get(message.full_name)
        if known is not None:
            return {"kind": known}
        self._learn(message)
        return {"kind": "message", "of": message.full_name}

    def _of_enum(self, enum: EnumDescriptor) -> Table:
        # The zero value says that nobody chose; a caller who chooses it has chosen nothing.
        names = [value.name for value in enum.values if value.number != 0]
        self._enums[enum.full_name] = {"values": dict.fromkeys(names, True), "names": ", ".join(names)}
        return {"kind": "enum", "of": enum.full_name}

    def _learn(self, message: Descriptor) -> None:
        if message.full_name not in self._messages:
            fields: Table = {}
            self._messages[message.full_name] = fields  # before its fields: a message may hold itself
            fields.update({field.json_name: self._field(field) for field in message.fields})

    def _message(self, name: str) -> Descriptor:
        found: Descriptor = self._pool.FindMessageTypeByName(name)
        return found


def reasons() -> dict[str, dict[str, int]]:
    """ErrorCode and HTTP status of every reason."""
    values = errors_pb2.Reason.DESCRIPTOR.values
    specs = {value: value.GetOptions().Extensions[errors_pb2.spec] for value in values if value.number}
    return {value.name: {"code": value.number, "status": spec.http_status} for value, spec in specs.items()}


def to_lua(value: object) -> str:
    """`value`, of dicts, lists, strings, numbers and booleans, as a Lua expression."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"[{to_lua(key)}]={to_lua(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "{" + ",".join(to_lua(item) for item in value) + "}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str) and value.isascii() and value.isprintable():
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    raise TypeError(f"{value!r} has no form in Lua")


def _json_path(message: Descriptor, path: str) -> str:
    """The proto path of a field as JSON spells it, for example "redemption_id" as "redemptionId"."""
    name, _, rest = path.partition(".")
    field = message.fields_by_name[name]
    if not rest:
        return field.json_name
    if field.message_type is None:
        raise ValueError(f"{name} of {message.full_name} has no field {rest}")
    return f"{field.json_name}.{_json_path(field.message_type, rest)}"


def _type_name(field: FieldDescriptor) -> str:
    return field.message_type.full_name if field.message_type is not None else ""
