"""The whole document."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from rewards.options.v1.options_pb2 import Deprecation

from gateway.openapi.comments import Comments
from gateway.openapi.headers import HEADERS, referred
from gateway.openapi.messages import Messages
from gateway.openapi.operations import Operations, path_of
from gateway.openapi.refusals import DETAILS, Reason, Refusals, refusal_schema
from gateway.surface import ERRORS, Binding, Rpc, published
from gateway.versions import VERSIONS

Json = dict[str, Any]

PATH: Final = "/v1/openapi.json"
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "example": "order-1042-redeem",
}
_IF_NONE_MATCH: Final = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of an answer that the caller has already.",
    "schema": {"type": "string"},
}
_KEY_TEXT: Final = (
    "Names this call for ever, within the program and the operation: the same key with the same request gives the "
    "first answer again, and never a second effect."
)
_MEMBER: Final = "A member's own token. It reaches that member's own data only, and memberId may be left out."
_INTRODUCTION: Final = """\
Rewards, loyalty points and their redemption.

Every answer under `/v1/` is an envelope. `IsSucessful` (that spelling) agrees with the HTTP status; `ErrorCode` is 0
or a row of the table below; `ReturnObject` is what was asked for or, on a refusal, its `reason` and `details`.
Unknown, misspelt and repeated fields are refused by name, and a null is read as if its field were not there. Points
and fields ending in `Minor` are whole numbers up to 2^53; other amounts are decimal major units. Instants are RFC
3339, in UTC. Enum values are read in any case.

| ErrorCode | reason | HTTP | when | retry | remembered under the key |
|---|---|---|---|---|---|
"""


def document(descriptors: FileDescriptorSet, versions: Mapping[str, Deprecation] = VERSIONS) -> Json:
    """The OpenAPI 3.1 document of everything in `descriptors` that partners may call over REST."""
    rpcs = [rpc for rpc in published(descriptors) if rpc.documented]
    comments = Comments(descriptors)
    messages, refusals = Messages(descriptors, comments), Refusals(comments)
    operations = Operations(comments, messages, refusals, versions)
    paths: Json = {PATH: {"get": _itself(refusals)}}
    for rpc in rpcs:
        for binding in rpc.bindings:
            path = paths.setdefault(path_of(messages, rpc, binding), {})
            path[binding.method.lower()] = operations.of(rpc, binding)
            if binding.method == "GET" and any(_is_twin(binding, twin) for one in rpcs for twin in one.bindings):
                path["get"]["responses"]["200"]["content"]["text/csv"] = {}
    table = list(refusals.table.values())
    schemas = {"Refusal": refusal_schema(table, "v1"), "RefusalDetails": _details(descriptors, messages)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Rewards API", "version": "v1", "description": _INTRODUCTION + _rows(table)},
        "servers": [{"url": "/"}],
        "tags": _tags(rpcs, comments),
        "paths": paths,
        "components": {
            "schemas": schemas | dict(sorted(messages.schemas.items())),
            "parameters": {
                "IdempotencyKey": {**_KEY, "required": True, "description": _KEY_TEXT},
                "OptionalIdempotencyKey": {**_KEY, "required": False, "description": _KEY_TEXT},
                "IfNoneMatch": _IF_NONE_MATCH,
            },
            "headers": HEADERS,
            "responses": dict(sorted(refusals.responses.items())),
            "examples": refusals.examples,
            "securitySchemes": _schemes(rpcs),
        },
        "x-error-codes": [reason.row() for reason in table],
    }


def _is_twin(binding: Binding, twin: Binding) -> bool:
    """True if the gateway takes the path of `twin` for that of `binding` where CSV is accepted."""
    if binding.verb or twin.verb != "csv" or twin.method != "GET":
        return False
    segments = [one.path.split("/") for one in (binding, twin)]
    return len({*map(len, segments)}) == 1 and all(b in (a, "*") for a, b in zip(*segments, strict=True))


def text(descriptors: FileDescriptorSet, versions: Mapping[str, Deprecation] = VERSIONS) -> str:
    """The document as it is served. The same protos give the same text."""
    return json.dumps(document(descriptors, versions), ensure_ascii=False, separators=(",", ":"))


def _itself(refusals: Refusals) -> Json:
    answers = refusals.of(("INVALID_REQUEST", "PAYLOAD_TOO_LARGE", "RATE_LIMITED", "UNAVAILABLE"), "v1")
    content = {"application/json": {"schema": {"type": "object", "required": ["openapi", "paths"]}}}
    return {
        "operationId": "OpenApi",
        "tags": ["Document"],
        "summary": "Reads this document",
        "security": [],
        "responses": {"200": {"description": "Done.", "headers": referred(()), "content": content}, **answers},
    }


def _details(descriptors: FileDescriptorSet, messages: Messages) -> Json:
    """What stands in `details`: the fields that are wrong, and the messages that errors.proto has for it."""
    names = (ERRORS + m.name for file in descriptors.file if f"{file.package}." == ERRORS for m in file.message_type)
    found = [messages.find(name) for name in names if name.rpartition(".")[2] not in {"Spec", "OAuthError"}]
    fields = {field.json_name: messages.field(field, sent=False) for message in found for field in message.fields}
    return {**DETAILS, "properties": {**DETAILS["properties"], **fields}}


def _rows(table: Iterable[Reason]) -> str:
    return "\n".join(
        f"| {r.code} | {r.name} | {r.status} | {r.when} | {r.retry} | {'yes' if r.binds else 'no'} |" for r in table
    )


def _tags(rpcs: Iterable[Rpc], comments: Comments) -> list[Json]:
    services = dict.fromkeys(rpc.service for rpc in rpcs)
    found = [
        {"name": service.rpartition(".")[2].removesuffix("Service"), "description": comments.of(service)}
        for service in services
    ]
    return [{"name": "Document", "description": "This document."}, *found]


def _schemes(rpcs: Iterable[Rpc]) -> Json:
    callers: dict[str, list[str]] = {}
    for rpc in rpcs:
        if rpc.access.scope:
            callers.setdefault(rpc.access.scope, []).append(rpc.name)
    scopes = {scope: f"Lets a credential call {', '.join(names)}." for scope, names in sorted(callers.items())}
    bearer = {"type": "http", "scheme": "bearer"}
    flow = {"tokenUrl": "/oauth/token", "scopes": scopes}
    return {
        "oauth2": {"type": "oauth2", "flows": {"clientCredentials": flow}},
        "bearer": {**bearer, "description": "An access token, or an API key in its place."},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
        "memberToken": {**bearer, "description": _MEMBER},
        "operatorToken": {**bearer, "description": "The token of an operator of the platform."},
    }
