"""What a call must satisfy before a servicer sees it: the RPC's declared access lets its caller in, its request keeps
the protovalidate rules of its proto and holds no NUL, and it has an idempotency key where the RPC declares one.

The principal headers are believed only from the gateway's certificate, and a service of the mesh only by its own
(design decision 11). Everything else is refused, also when an RPC forgot to declare its access."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import protovalidate
from google.protobuf.message import Message
from rewards.options.v1.options_pb2 import Idempotency

from svckit.call import Call, Kind, Method, Principal
from svckit.errors import Reason, Refused, invalid, violated

SPIFFE_PREFIX: Final = "spiffe://rewards.mesh/"
GATEWAY: Final = "gateway"
HEADER_KIND: Final = "x-rewards-kind"
HEADER_PROGRAM: Final = "x-rewards-program"
HEADER_CREDENTIAL: Final = "x-rewards-credential"
HEADER_SCOPES: Final = "x-rewards-scopes"
HEADER_MEMBER: Final = "x-rewards-member"
KEY_HEADER: Final = "idempotency-key"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


def principal(auth_context: Mapping[str, Iterable[bytes]], metadata: Mapping[str, str]) -> Principal:
    """Who calls, by the peer's certificate and, from the gateway only, the principal headers. The gatekeeper sets
    the kind on every request that it lets through, so a call of the gateway without one is the gateway's own."""
    uris = (identity.decode("ascii", "replace") for identity in auth_context.get("peer_spiffe_id", ()))
    peer = next((uri.removeprefix(SPIFFE_PREFIX) for uri in uris if uri.startswith(SPIFFE_PREFIX)), "")
    if peer != GATEWAY or HEADER_KIND not in metadata:
        return Principal(Kind.SERVICE, name=peer)
    scopes = frozenset(metadata.get(HEADER_SCOPES, "").split())
    name, program_id, member_id = (metadata.get(it, "") for it in (HEADER_CREDENTIAL, HEADER_PROGRAM, HEADER_MEMBER))
    return Principal(Kind(metadata[HEADER_KIND]), name, program_id, scopes, member_id)


def check(method: Method, caller: Principal) -> None:
    """Raises UNAUTHENTICATED or PERMISSION_DENIED unless the RPC's access lets the caller in."""
    access = method.access
    if access is None:
        raise Refused(Reason.PERMISSION_DENIED, "This operation is not open to anybody.")
    if access.public or access.claim:
        return
    if caller.kind is Kind.PUBLIC:
        raise Refused(Reason.UNAUTHENTICATED, "This operation needs a credential.")
    kind = caller.kind
    if not (
        (kind is Kind.SERVICE and caller.name and caller.name in access.services)
        or (kind is Kind.PARTNER and (access.partner or (access.scope and access.scope in caller.scopes)))
        or (kind is Kind.MEMBER and access.member and caller.member_id)
        or (kind is Kind.OPERATOR and access.operator)
    ):
        needed = f"the scope {access.scope}" if access.scope else "another kind of credential"
        raise Refused(Reason.PERMISSION_DENIED, f"This operation needs {needed}.")


def confine(call: Call, request: Any) -> None:
    """Keeps a member's own token to that member: fills in `member_id`, or raises MEMBER_NOT_FOUND for another's,
    as for an id that does not exist."""
    caller = call.principal
    if caller.kind is not Kind.MEMBER or "member_id" not in call.method.request.fields_by_name:
        return
    if not request.member_id:
        request.member_id = caller.member_id
    elif request.member_id != caller.member_id:
        raise Refused(Reason.MEMBER_NOT_FOUND, "There is no such member.")


def validate(request: Message) -> None:
    """Raises INVALID_REQUEST that names every field that breaks a rule of the proto."""
    # PostgreSQL takes no NUL in text, so one that slipped through would be a 500. The serialized form
    # tells at C speed that there is none; only if there may be one, the fields are walked.
    if b"\0" in request.SerializeToString():
        for path, text in _strings(request, ""):
            if "\0" in text:
                raise invalid(**{path: "must not contain NUL"})
    if violations := protovalidate.collect_violations(request):
        raise violated((_path(request, found), found.proto.message) for found in violations)


def key(method: Method, values: list[str]) -> str | None:
    """The call's idempotency key, of the values that its header has. Raises IDEMPOTENCY_KEY_MISSING where the RPC
    needs one, INVALID_REQUEST where it is not 1 to 255 visible ASCII characters or stands there twice."""
    if not values and method.idempotency == Idempotency.IDEMPOTENCY_REQUIRED:
        raise Refused(Reason.IDEMPOTENCY_KEY_MISSING, "This call needs an Idempotency-Key.")
    if not values or method.idempotency == Idempotency.IDEMPOTENCY_UNSPECIFIED:
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
        indexed = f"[{subscript.value}]" if subscript is not None and subscript.field == "index" else ""
        parts.append(f"{name}{indexed}")
        descriptor = field and field.message_type
    return ".".join(parts)


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
