"""What a request must satisfy before a servicer sees it: the protovalidate rules of its proto, no NUL in
any string, and an idempotency key where the RPC declares one."""

import re
from collections.abc import Iterator
from typing import Any, Final

import protovalidate
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest
from rewards.options.v1.options_pb2 import Idempotency

from svckit.errors import MAX_VIOLATIONS, Reason, Refused, invalid, violated
from svckit.methods import Method

KEY_HEADER: Final = "idempotency-key"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


def check(request: Message) -> None:
    """Raises INVALID_REQUEST that names every field that breaks a rule of the proto."""
    _refuse_nul(request)
    violations = protovalidate.collect_violations(request)
    if violations:
        raise violated(
            [
                BadRequest.FieldViolation(field=_path(request, found), description=found.proto.message)
                for found in violations[:MAX_VIOLATIONS]
            ]
        )


def key(method: Method, values: list[str]) -> str | None:
    """The call's idempotency key, of the values that its header has.

    Raises IDEMPOTENCY_KEY_MISSING where the RPC needs one, INVALID_REQUEST where it is not 1 to 255
    visible ASCII characters or stands there twice.
    """
    if method.idempotency == Idempotency.IDEMPOTENCY_UNSPECIFIED:
        return None
    if not values:
        if method.idempotency == Idempotency.IDEMPOTENCY_REQUIRED:
            raise Refused(Reason.IDEMPOTENCY_KEY_MISSING, "This call needs an Idempotency-Key.")
        return None
    if len(values) > 1 or not _KEY.fullmatch(values[0]):
        raise invalid(**{"Idempotency-Key": "must be 1 to 255 visible ASCII characters, once"})
    return values[0]


def _path(request: Message, violation: protovalidate.Violation) -> str:
    """The field as REST spells it, for example "recipient.email" or "relations[0].type"."""
    parts: list[str] = []
    descriptor: Any = request.DESCRIPTOR
    for element in violation.proto.field.elements if violation.proto.field else ():
        field = descriptor and descriptor.fields_by_name.get(element.field_name)
        name = field.json_name if field else element.field_name
        subscript = element.subscript
        indexed = subscript is not None and subscript.field == "index"
        parts.append(f"{name}[{subscript.value}]" if subscript is not None and indexed else name)
        descriptor = field and field.message_type
    return ".".join(parts)


def _refuse_nul(request: Message) -> None:
    # PostgreSQL takes no NUL in text, so one that slipped through would be a 500. The serialized form
    # tells at C speed that there is none; only if there may be one, the fields are walked.
    if b"\0" not in request.SerializeToString():
        return
    for path, text in _strings(request, ""):
        if "\0" in text:
            raise invalid(**{path: "must not contain NUL"})


def _strings(message: Message, prefix: str) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        path = f"{prefix}{field.json_name}"
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            items = [*value, *value.values()]
        else:
            items = value if field.is_repeated else [value]
        for item in items:
            if isinstance(item, str):
                yield path, item
            elif isinstance(item, Message):
                yield from _strings(item, f"{path}.")
