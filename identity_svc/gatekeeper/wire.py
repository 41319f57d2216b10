"""The gatekeeper's answers in the words of Envoy's ext_authz."""

import base64
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from envoy_min.authz_pb2 import (
    CheckResponse,
    DeniedHttpResponse,
    HeaderValue,
    HeaderValueOption,
    HttpStatus,
    OkHttpResponse,
)
from google.protobuf.json_format import MessageToJson
from google.protobuf.struct_pb2 import Struct
from google.rpc.status_pb2 import Status

from identity_svc.limits.meter import HEADER, Spent
from svckit import admission
from svckit.call import Kind, Principal
from svckit.errors import Refused, spec

# HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD: what a client sent under this name does not get through.
_OVERWRITE: Final = 2
# Where Envoy tells whose address a request comes from.
PEER: Final = "x-rewards-peer"
_TOLD: Final = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
_DETAILS: Final = "grpc-status-details-bin"
_UNAUTHORIZED: Final = 401
_CREDENTIALS: Final = ("authorization", "x-api-key")
_PRINCIPAL: Final = (
    admission.HEADER_PROGRAM,
    admission.HEADER_CREDENTIAL,
    admission.HEADER_SCOPES,
    admission.HEADER_MEMBER,
)


def open_to_all(*, keep_credentials: bool) -> CheckResponse:
    """Lets a request through without looking at its credential, which the service behind may still read."""
    removed = (*_PRINCIPAL, PEER, *(() if keep_credentials else _CREDENTIALS))
    kind = _header(admission.HEADER_KIND, Kind.PUBLIC.value)
    return CheckResponse(status=Status(), ok_response=OkHttpResponse(headers=[kind], headers_to_remove=removed))


# A caller's calls differ in nothing but what is left of its limits, and making the answer would be half of the work.
@lru_cache(maxsize=10_000)
def admitted(principal: Principal) -> CheckResponse:
    """Lets an authenticated request through: who it is goes to the service, and into Envoy's log. Not to be changed."""
    fields = _principal(principal)
    headers = [_header(name, value) for name, value in fields if value]
    removed = (*(name for name, value in fields if not value), PEER, *_CREDENTIALS)
    known = Struct()
    known.update({"credential": principal.name})
    ok = OkHttpResponse(headers=headers, headers_to_remove=removed)
    return CheckResponse(status=Status(), ok_response=ok, dynamic_metadata=known)


def counted(answer: CheckResponse, spent: Spent, refused: Refused | None) -> CheckResponse:
    """An answer that lets a request through, with what its caller is told of its limits. One that is refused all the
    same takes the way of a service's refusals, by the filter behind: Envoy's own denials know no codes of gRPC."""
    made = CheckResponse()
    made.CopyFrom(answer)
    ok = made.ok_response
    if spent.nearest is not None:
        told = zip(_TOLD, spent.nearest, strict=True)
        ok.response_headers_to_add.extend(_header(name, str(value)) for name, value in told)
    if refused is None:
        ok.headers.append(_header(HEADER, spent.counted))
    else:
        made.dynamic_metadata.update({"refusal": _in_grpc(refused)})
    return made


def denied(refused: Refused, headers: Mapping[str, str]) -> CheckResponse:
    """Refuses a request in the form that its caller reads: JSON as the transcoder prints it, or gRPC's."""
    status = refused.status()
    body, answer_headers = _form(status, headers)
    http_status = spec(refused.reason).http_status
    if http_status == _UNAUTHORIZED:
        answer_headers.append(_header("www-authenticate", _challenge(headers)))
    if refused.retry_after_s is not None:
        answer_headers.append(_header("retry-after", str(refused.retry_after_s)))
    response = DeniedHttpResponse(status=HttpStatus(code=http_status), headers=answer_headers, body=body)
    return CheckResponse(status=Status(code=status.code), denied_response=response)


def _form(status: Status, headers: Mapping[str, str]) -> tuple[str, list[HeaderValueOption]]:
    # A REST call has been transcoded before it came here, so its content type is gRPC's too; the original
    # path tells it apart, and a client cannot send that header through the gateway.
    native = headers.get("content-type", "").startswith("application/grpc")
    if native and "x-envoy-original-path" not in headers:
        return status.message, [_header(_DETAILS, _encoded(status))]
    return MessageToJson(status, indent=None), [_header("content-type", "application/json")]


def _in_grpc(refused: Refused) -> dict[str, str]:
    status = refused.status()
    headers = {"grpc-status": str(status.code), "grpc-message": status.message, _DETAILS: _encoded(status)}
    return headers if refused.retry_after_s is None else {**headers, "retry-after": str(refused.retry_after_s)}


def _encoded(status: Status) -> str:
    return base64.b64encode(status.SerializeToString()).decode().rstrip("=")


def _challenge(headers: Mapping[str, str]) -> str:
    # RFC 6750 section 3.1: a request that showed no credential is told no error.
    shown = any(name in headers for name in _CREDENTIALS)
    return 'Bearer realm="rewards-mesh"' + (', error="invalid_token"' if shown else "")


def _principal(principal: Principal) -> Iterable[tuple[str, str]]:
    return (
        (admission.HEADER_KIND, principal.kind.value),
        (admission.HEADER_PROGRAM, principal.program_id),
        (admission.HEADER_CREDENTIAL, principal.name),
        (admission.HEADER_SCOPES, " ".join(sorted(principal.scopes))),
        (admission.HEADER_MEMBER, principal.member_id),
    )


def _header(key: str, value: str) -> HeaderValueOption:
    return HeaderValueOption(header=HeaderValue(key=key, value=value), append_action=_OVERWRITE)
