"""The part of the protos that is reachable from outside: RPCs, their paths over REST and gRPC, their owners."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto
from rewards.options.v1 import options_pb2

# The transcoder runs after the Lua filter, and the filter refuses every path that is not under one of these.
# So a binding elsewhere could never be reached, and a native gRPC caller can never be transcoded.
ROOTS: Final = ("/v1/", "/oauth/", "/.well-known/", "/claim/")
HTTP_BODY: Final = "google.api.HttpBody"
ERRORS: Final = "rewards.errors.v1."
DESCRIPTORS: Final = Path(__file__).resolve().parents[1] / "protos" / "gen" / "descriptors.binpb"
VARIABLE: Final = re.compile(r"\{([^}=]+)(?:=([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Binding:
    """A REST form of an RPC (google.api.http).

    `path` has "*" for each variable segment, `verb` is what follows a colon in the last segment. `variables`
    are the proto names of the fields that the path fills. `body` is "*", a field's name or "" for none.
    """

    method: str
    template: str
    path: str
    verb: str
    variables: tuple[str, ...]
    body: str
    response_body: str


@dataclass(frozen=True, slots=True)
class Rpc:
    """An RPC that somebody outside the mesh may call. `request` and `response` are full message names."""

    service: str
    name: str
    cluster: str
    access: options_pb2.Access
    idempotency: "options_pb2.Idempotency.ValueType"
    deprecation: options_pb2.Deprecation | None
    conditional: bool
    request: str
    response: str
    streams: bool
    bindings: tuple[Binding, ...]

    @property
    def documented(self) -> bool:
        """True where it has a REST form for programs. Pages are for people, and no part of the contract."""
        return any(family(binding.template) != "page" for binding in self.bindings)

    @property
    def open_to_all(self) -> bool:
        """True where no credential is needed, or the path's token is one."""
        return bool(self.access.public or self.access.claim)

    @property
    def path(self) -> str:
        """The path of the gRPC form, which the transcoder gives the REST forms too."""
        return f"/{self.service}/{self.name}"


def load(path: Path) -> FileDescriptorSet:
    """The descriptor set at `path`."""
    return FileDescriptorSet.FromString(path.read_bytes())


def for_transcoder(descriptors: FileDescriptorSet) -> FileDescriptorSet:
    """The same without comments, which Envoy has no use for, and without `response_body`, which it refuses for anything
    but a page: the Lua filter takes that part out of the answer."""
    copy = FileDescriptorSet()
    copy.CopyFrom(descriptors)
    for file in copy.file:
        file.ClearField("source_code_info")
        for service in file.service:
            for method in service.method:
                if method.options.HasExtension(annotations_pb2.http):
                    _clear_response_body(method.options.Extensions[annotations_pb2.http])
    return copy


def _clear_response_body(rule: http_pb2.HttpRule) -> None:
    if family(getattr(rule, str(rule.WhichOneof("pattern")))) != "page":
        rule.ClearField("response_body")
    for more in rule.additional_bindings:
        _clear_response_body(more)


def published(descriptors: FileDescriptorSet) -> list[Rpc]:
    """Every RPC with public, claim, partner, scope, member or operator access, in the order of the protos.

    An RPC that only services of the mesh may call is none of these; nor is one that declares nothing.
    Raises ValueError if a binding could not be reached.
    """
    return [
        _rpc(file.package, service.name, method)
        for file in descriptors.file
        for service in file.service
        for method in service.method
        if _is_open(method.options.Extensions[options_pb2.access])
    ]


def family(template: str) -> str:
    """Which form a path's answers have: "v1" and "plain" refuse in the envelope, and v1 succeeds in it too; "oauth" has
    RFC 6749's members, and "oauth_enveloped" those of both. A "page" is HTML, also where it refuses."""
    if template == "/oauth/Auth/Token":
        return "oauth_enveloped"
    if template.startswith("/oauth/"):
        return "oauth"
    if template.startswith("/claim/"):
        return "page"
    return "plain" if template.startswith("/.well-known/") else "v1"


def _is_open(access: options_pb2.Access) -> bool:
    return any((access.public, access.claim, access.partner, access.scope, access.member, access.operator))


def _rpc(package: str, service: str, method: MethodDescriptorProto) -> Rpc:
    options = method.options.Extensions
    return Rpc(
        service=f"{package}.{service}",
        name=method.name,
        cluster=f"{package.split('.')[-2]}_svc",
        access=options[options_pb2.access],
        idempotency=options[options_pb2.idempotency],
        deprecation=options[options_pb2.deprecation] if method.options.HasExtension(options_pb2.deprecation) else None,
        conditional=options[options_pb2.conditional],
        request=method.input_type.removeprefix("."),
        response=method.output_type.removeprefix("."),
        streams=method.server_streaming,
        bindings=tuple(_bindings(options[annotations_pb2.http])),
    )


def _bindings(rule: http_pb2.HttpRule) -> Iterator[Binding]:
    method = rule.WhichOneof("pattern")
    if method is None:
        return
    if method == "custom":
        raise ValueError(f"custom method {rule.custom.kind} has no place in the v1 surface")
    yield _binding(method.upper(), getattr(rule, method), rule)
    for more in rule.additional_bindings:
        yield from _bindings(more)


def _binding(method: str, template: str, rule: http_pb2.HttpRule) -> Binding:
    if not template.startswith(ROOTS):
        raise ValueError(f"{template} is under none of {', '.join(ROOTS)}")
    variables = tuple(name for name, _ in VARIABLE.findall(template))
    plain = VARIABLE.sub(lambda found: found[2] or "*", template)
    if "**" in plain:
        raise ValueError(f"{template} spans segments, which the gateway's matcher does not know")
    head, slash, last = plain.rpartition("/")
    segment, _, verb = last.partition(":")
    return Binding(method, template, head + slash + segment, verb, variables, rule.body, rule.response_body)
