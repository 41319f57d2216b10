"""Who calls, and whether the RPC's declared access lets them in.

The principal headers are believed only from the gateway's certificate, and a service of the mesh only by
its own (design decision 11). Everything else is refused, also when an RPC forgot to declare its access.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.message import Message

from svckit.call import Call, Kind, Principal
from svckit.errors import Reason, Refused
from svckit.methods import Method

SPIFFE_PREFIX: Final = "spiffe://rewards.mesh/"
GATEWAY: Final = "gateway"
HEADER_KIND: Final = "x-rewards-kind"
HEADER_PROGRAM: Final = "x-rewards-program"
HEADER_CREDENTIAL: Final = "x-rewards-credential"
HEADER_SCOPES: Final = "x-rewards-scopes"
HEADER_MEMBER: Final = "x-rewards-member"


def peer_name(auth_context: Mapping[str, Iterable[bytes]]) -> str:
    """The name in the peer's certificate, for example "gateway"; empty without one."""
    for identity in auth_context.get("peer_spiffe_id", ()):
        uri = identity.decode("ascii", "replace")
        if uri.startswith(SPIFFE_PREFIX):
            return uri.removeprefix(SPIFFE_PREFIX)
    return ""


def principal(peer: str, metadata: Mapping[str, str]) -> Principal:
    """Who calls, by the peer's certificate and, from the gateway only, the principal headers.

    The gatekeeper sets the kind on every request that it lets through, so a call of the gateway without
    one is the gateway's own.
    """
    if peer != GATEWAY or HEADER_KIND not in metadata:
        return Principal(Kind.SERVICE, name=peer)
    return Principal(
        kind=Kind(metadata[HEADER_KIND]),
        name=metadata.get(HEADER_CREDENTIAL, ""),
        program_id=metadata.get(HEADER_PROGRAM, ""),
        scopes=frozenset(metadata.get(HEADER_SCOPES, "").split()),
        member_id=metadata.get(HEADER_MEMBER, ""),
    )


def check(method: Method, caller: Principal) -> None:
    """Raises UNAUTHENTICATED or PERMISSION_DENIED unless the RPC's access lets the caller in."""
    access = method.access
    if access is None:
        raise Refused(Reason.PERMISSION_DENIED, "This operation is not open to anybody.")
    if access.public or access.claim:
        return
    match caller.kind:
        case Kind.SERVICE:
            allowed = bool(caller.name) and caller.name in access.services
        case Kind.PARTNER:
            allowed = bool(access.scope) and access.scope in caller.scopes
        case Kind.MEMBER:
            allowed = access.member and bool(caller.member_id)
        case Kind.OPERATOR:
            allowed = access.operator
        case Kind.PUBLIC:
            raise Refused(Reason.UNAUTHENTICATED, "This operation needs a credential.")
    if not allowed:
        needed = f"the scope {access.scope}" if access.scope else "another kind of credential"
        raise Refused(Reason.PERMISSION_DENIED, f"This operation needs {needed}.")


def confine(call: Call, request: Message) -> None:
    """Keeps a member's own token to that member: fills in `member_id`, or refuses another's.

    Raises MEMBER_NOT_FOUND, as for an id that does not exist.
    """
    caller = call.principal
    if caller.kind is not Kind.MEMBER or not call.method.takes_member_id:
        return
    named = getattr(request, "member_id")  # noqa: B009 - the field is known by the descriptor only
    if not named:
        setattr(request, "member_id", caller.member_id)  # noqa: B010
    elif named != caller.member_id:
        raise Refused(Reason.MEMBER_NOT_FOUND, "There is no such member.")
