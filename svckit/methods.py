"""The RPCs as the protos declare them, read off the descriptors: access and idempotency of each."""

from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from rewards.options.v1 import options_pb2
from rewards.options.v1.options_pb2 import Access, Idempotency


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """An RPC. `path` is "/package.Service/Name"; `access` is None if the proto declares none."""

    path: str
    service: str
    name: str
    access: Access | None
    idempotency: Idempotency.ValueType
    request: Descriptor

    @property
    def takes_member_id(self) -> bool:
        """True if the request names a member, so that a member's own token can fill it in."""
        return "member_id" in self.request.fields_by_name


def method(descriptor: MethodDescriptor) -> Method:
    """The RPC that `descriptor` declares."""
    options = descriptor.GetOptions()
    declared = options.HasExtension(options_pb2.access)
    service = descriptor.containing_service.full_name
    return Method(
        path=f"/{service}/{descriptor.name}",
        service=service,
        name=descriptor.name,
        access=options.Extensions[options_pb2.access] if declared else None,
        idempotency=options.Extensions[options_pb2.idempotency],
        request=descriptor.input_type,
    )


def methods(*services: ServiceDescriptor) -> dict[str, Method]:
    """All RPCs of `services`, by path."""
    found = (method(rpc) for service in services for rpc in service.methods)
    return {rpc.path: rpc for rpc in found}


@cache
def fields_with(message: Descriptor, option: str) -> tuple[str, ...]:
    """Names of the direct fields of `message` that carry the boolean field option `option`."""
    extension = getattr(options_pb2, option)
    return tuple(f.name for f in message.fields if f.GetOptions().Extensions[extension])
