"""protovalidate's rules as keywords of JSON Schema."""

from collections.abc import Iterator
from typing import Any, Final

from buf.validate import validate_pb2
from google.protobuf.descriptor import FieldDescriptor

Schema = dict[str, Any]

_NUMBERS: Final = {"double", "float", "int32", "int64", "uint32", "uint64"}
_LENGTHS: Final = {"min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"}
_FORMATS: Final = ("uuid", "email", "uri", "hostname", "ipv4", "ipv6")
_SIZES: Final = {"min_items": "minItems", "max_items": "maxItems", "unique": "uniqueItems"}
_BOUNDS: Final = {"gt": "exclusiveMinimum", "gte": "minimum", "lt": "exclusiveMaximum", "lte": "maximum"}


def rules_of(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """The rules that a field declares."""
    rules: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]
    return rules


def keywords(rules: validate_pb2.FieldRules) -> Schema:
    """What a schema says of them. An enum's numbers and a list's items are the caller's: they need the field."""
    kind = rules.WhichOneof("type")
    if kind is None:
        return {}
    typed = getattr(rules, kind)
    if kind == "string":
        return dict(_string(typed))
    if kind in _NUMBERS:
        return dict(_number(typed, whole=kind not in {"double", "float"}))
    if kind == "repeated":
        return {name: getattr(typed, rule) for rule, name in _SIZES.items() if typed.HasField(rule)}
    return {}


def _string(rules: validate_pb2.StringRules) -> Iterator[tuple[str, Any]]:
    for rule, name in _LENGTHS.items():
        if rules.HasField(rule):  # type: ignore[arg-type]
            yield name, getattr(rules, rule)
    known = rules.WhichOneof("well_known")
    if known in _FORMATS:
        yield "format", known
    if getattr(rules, "in"):
        yield "enum", list(getattr(rules, "in"))


def _number(rules: Any, *, whole: bool) -> Iterator[tuple[str, Any]]:
    for rule, name in _BOUNDS.items():
        if not rules.HasField(rule):
            continue
        bound = getattr(rules, rule)
        if whole and rule in {"gt", "lt"}:
            yield _BOUNDS[f"{rule}e"], bound + (1 if rule == "gt" else -1)
        else:
            yield name, int(bound) if bound == int(bound) else bound
    if rules.not_in:
        yield "not", {"enum": list(rules.not_in)}
    if getattr(rules, "in"):
        yield "enum", list(getattr(rules, "in"))
