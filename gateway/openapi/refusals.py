"""What a call may be refused with: the error table, and the answers that carry its reasons."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from google.protobuf.descriptor import EnumValueDescriptor
from rewards.errors.v1 import errors_pb2
from rewards.options.v1 import options_pb2

from gateway.openapi.comments import Comments
from gateway.openapi.headers import OF_REFUSAL, referred
from gateway.surface import Rpc

Json = dict[str, Any]

REASON: Final = "rewards.errors.v1.Reason"
_RETRY: Final = "rewards.errors.v1.Spec.Retry"
_NAME: Final = re.compile(r"\b[A-Z][A-Z_]+[A-Z]\b")
_ALWAYS: Final = ("INVALID_REQUEST", "PAYLOAD_TOO_LARGE", "RATE_LIMITED", "INTERNAL", "UNAVAILABLE", "TIMEOUT")
_WITH_CREDENTIAL: Final = ("UNAUTHENTICATED", "TOKEN_EXPIRED", "PERMISSION_DENIED", "QUOTA_EXHAUSTED")
_WITH_KEY: Final = ("IDEMPOTENCY_KEY_REUSED", "IDEMPOTENCY_IN_FLIGHT")
# One reason leaves under two statuses: headers that are too large have one of their own.
_HEADERS_TOO_LARGE: Final = 431
_OAUTH_ERRORS: Final = ("invalid_request", "invalid_client", "invalid_grant", "invalid_scope", "unauthorized_client")
_OAUTH_MORE: Final = ("unsupported_grant_type", "unsupported_token_type", "temporarily_unavailable", "server_error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A row of the error table."""

    code: int
    name: str
    status: int
    retry: str
    when: str
    binds: bool

    def row(self) -> Json:
        """The row as JSON."""
        names = {"errorCode": self.code, "reason": self.name, "httpStatus": self.status}
        return {**names, "when": self.when, "retry": self.retry, "remembered": self.binds}

    def envelope(self) -> Json:
        """An answer that has this reason."""
        refused = {"reason": self.name, "details": {}}
        return {"IsSucessful": False, "ErrorCode": self.code, "ExceptionMessage": self.when, "ReturnObject": refused}


def reasons(comments: Comments) -> dict[str, Reason]:
    """The error table by the names of its rows, in order of their numbers."""
    return {value.name: _reason(value, comments) for value in errors_pb2.Reason.DESCRIPTOR.values if value.number}


def _reason(value: EnumValueDescriptor, comments: Comments) -> Reason:
    spec: errors_pb2.Spec = value.GetOptions().Extensions[errors_pb2.spec]
    retry = comments.of(f"{_RETRY}.{errors_pb2.Spec.Retry.Name(spec.retry)}")
    return Reason(
        code=value.number,
        name=value.name,
        status=spec.http_status,
        retry=retry,
        when=comments.of(f"{REASON}.{value.name}"),
        binds=spec.binds,
    )


def refused_with(rpc: Rpc, comment: str, *, json_body: bool) -> set[str]:
    """The names of the reasons that an RPC may be refused with: what everything of its kind may be, and what its
    comment names."""
    known = set(errors_pb2.Reason.keys())
    found = {*_ALWAYS, *(name for name in _NAME.findall(comment) if name in known)}
    if json_body:
        found.add("UNSUPPORTED_MEDIA_TYPE")
    if not rpc.open_to_all:
        found.update(_WITH_CREDENTIAL)
    if rpc.idempotency != options_pb2.Idempotency.IDEMPOTENCY_UNSPECIFIED:
        found.update(_WITH_KEY)
    if rpc.idempotency == options_pb2.Idempotency.IDEMPOTENCY_REQUIRED:
        found.add("IDEMPOTENCY_KEY_MISSING")
    return found


class Refusals:
    """Makes the refusing answers of operations; `responses` and `examples` collect what they refer to."""

    def __init__(self, comments: Comments) -> None:
        self.table = reasons(comments)
        self.responses: dict[str, Json] = {}
        self.examples: dict[str, Json] = {}

    def of(self, names: Iterable[str], family: str) -> dict[str, Json]:
        """The refusing answers by status, for reasons by name, in the form of a family of paths."""
        by_status: dict[int, list[Reason]] = {}
        for reason in sorted((self.table[name] for name in names), key=lambda reason: reason.code):
            by_status.setdefault(reason.status, []).append(reason)
            if reason.name == "PAYLOAD_TOO_LARGE":
                by_status[_HEADERS_TOO_LARGE] = [reason]
        return {str(status): self._answer(status, by_status[status], family) for status in sorted(by_status)}

    def _answer(self, status: int, found: list[Reason], family: str) -> Json:
        codes = "_".join(str(reason.code) for reason in found)
        name = f"{'Oauth' if family == 'oauth' else ''}Refused{status}_{codes}"
        if family == "oauth_enveloped":
            name = f"Enveloped{name}"
        if name not in self.responses:
            self.responses[name] = self._response(status, found, family)
        return {"$ref": f"#/components/responses/{name}"}

    def _response(self, status: int, found: list[Reason], family: str) -> Json:
        lines = [f"- {r.code} `{r.name}`: {r.when} Retry: {r.retry}" for r in found]
        content: Json = {"schema": refusal_schema(found, family)}
        if family in {"v1", "plain"}:
            content["examples"] = {reason.name: self._example(reason) for reason in found}
        return {
            "description": "\n".join([f"{HTTPStatus(status).phrase}.", "", *lines]),
            "headers": referred(OF_REFUSAL.get(status, ())),
            "content": {"application/json": content},
        }

    def _example(self, reason: Reason) -> Json:
        self.examples[reason.name] = {"summary": reason.when, "value": reason.envelope()}
        return {"$ref": f"#/components/examples/{reason.name}"}


def refusal_schema(found: list[Reason], family: str) -> Json:
    """The JSON of a refusal for one of these reasons, in the form of a family of paths."""
    oauth = {
        "error": {"type": "string", "enum": [*_OAUTH_ERRORS, *_OAUTH_MORE]},
        "error_description": {"type": "string"},
    }
    refused = {
        "reason": {"type": "string", "enum": [reason.name for reason in found]},
        "details": {"$ref": "#/components/schemas/RefusalDetails"},
    }
    envelope = {
        "IsSucessful": {"const": False},
        "ErrorCode": {"type": "integer", "enum": [reason.code for reason in found]},
        "ExceptionMessage": {"type": "string"},
        "ReturnObject": {"type": "object", "required": [*refused], "properties": refused},
    }
    members = {"oauth": oauth, "oauth_enveloped": {**oauth, **envelope}}.get(family, envelope)
    return {"type": "object", "required": [*members], "properties": members}


DETAILS: Final[Json] = {
    "type": "object",
    "description": "What is known beyond the reason.",
    "properties": {
        "fieldViolations": {
            "type": "array",
            "description": "The fields that are wrong, of INVALID_REQUEST.",
            "items": {
                "type": "object",
                "required": ["field", "description"],
                "properties": {
                    "field": {"type": "string", "examples": ["relations[0].type"]},
                    "description": {"type": "string", "examples": ["is not a field of this request"]},
                },
            },
        },
    },
}
