"""The RPCs as the protos declare them, and the call of one that is being answered: who makes it, under which key,
and what goes back beside the answer."""

import asyncio
import enum
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

import grpc
from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from rewards.options.v1 import options_pb2
from rewards.options.v1.options_pb2 import Access, Idempotency

from svckit.errors import Reason, Refused


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """An RPC. `path` is "/package.Service/Name". No `access` means none declared; a `foreign` proto has no rules."""

    path: str
    service: str
    name: str
    access: Access | None
    idempotency: Idempotency.ValueType
    request: Descriptor
    foreign: bool = False


def methods(*services: ServiceDescriptor, callers: Sequence[str] = ()) -> dict[str, Method]:
    """All RPCs of `services`, by path. Foreign ones declare no access: their `callers` are these services."""
    found = {}
    for rpc in (one for service in services for one in service.methods):
        options, service = rpc.GetOptions(), rpc.containing_service.full_name
        access = options.Extensions[options_pb2.access] if options.HasExtension(options_pb2.access) else None
        access, path = Access(services=callers) if callers else access, f"/{service}/{rpc.name}"
        kept = options.Extensions[options_pb2.idempotency]
        found[path] = Method(path, service, rpc.name, access, kept, rpc.input_type, foreign=bool(callers))
    return found


class Kind(enum.Enum):
    """What kind of caller a principal is."""

    PUBLIC = "public"
    PARTNER = "partner"
    MEMBER = "member"
    OPERATOR = "operator"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. `name` is the credential's id, or the service's name for calls inside the mesh."""

    kind: Kind
    name: str = ""
    program_id: str = ""
    scopes: frozenset[str] = frozenset()
    member_id: str = ""


@dataclass(slots=True)
class Call:
    """One RPC on its way through the interceptors into the servicer. `deadline_s` is on the event loop's clock.
    `reply_headers` leave as initial metadata, with a refusal too. `reason` names the refusal once there is one."""

    method: Method
    principal: Principal = Principal(Kind.PUBLIC)
    idempotency_key: str | None = None
    deadline_s: float = float("inf")
    metadata: dict[str, str] = field(default_factory=dict)
    reply_headers: dict[str, str] = field(default_factory=dict)
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""

    @property
    def program_id(self) -> str:
        """The caller's program. Raises PERMISSION_DENIED for callers that belong to none."""
        if not self.principal.program_id:
            raise Refused(Reason.PERMISSION_DENIED, "This credential belongs to no program.")
        return self.principal.program_id


_current: ContextVar[Call] = ContextVar("call")
# Makes a call the current one of this task; for the interceptors.
enter = _current.set


def current() -> Call:
    """The call that this task answers. Raises LookupError outside of one."""
    return _current.get()


def remaining_s(default_s: float) -> float:
    """Seconds until this task's call runs out; `default_s` outside of a call."""
    call = _current.get(None)
    return default_s if call is None else min(default_s, call.deadline_s - asyncio.get_running_loop().time())
