"""The one way to refuse: raise `Refused` with a reason of `rewards.errors.v1`.

Numbers, gRPC codes and HTTP statuses stand in the proto only; the error interceptor turns a refusal into
a `google.rpc.Status` with `ErrorInfo` (AIP-193) and at most one typed detail."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from rewards.errors.v1 import errors_pb2
from rewards.errors.v1.errors_pb2 import Reason, Spec

__all__ = ["DOMAIN", "Reason", "Refused", "from_status", "internal", "invalid", "spec", "violated"]

DOMAIN: Final = "rewards-mesh"
MAX_VIOLATIONS: Final = 20
_DETAILS: Final = (errors_pb2.Shortfall, errors_pb2.OAuthError, error_details_pb2.BadRequest)
_GRPC_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


def spec(reason: Reason.ValueType) -> Spec:
    """The reason's HTTP status, gRPC code, retry rule, and whether it binds an idempotency key."""
    found: Spec = Reason.DESCRIPTOR.values_by_number[reason].GetOptions().Extensions[errors_pb2.spec]
    return found


class Refused(Exception):  # noqa: N818 - an outcome of the domain, named as it reads at a raise
    """A call is refused. `message` is for people and holds no secret and no personal data. `detail` is one of the
    typed messages of `rewards.errors.v1`, or a `BadRequest`. `retry_after_s` becomes the Retry-After header."""

    def __init__(
        self, reason: Reason.ValueType, message: str, *, detail: Message | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.reason, self.message, self.detail, self.retry_after_s = reason, message, detail, retry_after_s

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC code of the reason."""
        return _GRPC_CODES[spec(self.reason).code]

    @property
    def binds(self) -> bool:
        """True if the refusal is remembered under the call's idempotency key (G58)."""
        return spec(self.reason).binds

    def status(self) -> status_pb2.Status:
        """The refusal as it leaves the process."""
        info = error_details_pb2.ErrorInfo(reason=Reason.Name(self.reason), domain=DOMAIN)
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        for detail in (info, self.detail):
            if detail is not None:
                status.details.add().Pack(detail)
        return status


def from_status(status: status_pb2.Status) -> Refused:
    """Rebuilds a refusal from what `Refused.status` made; anything else is INTERNAL."""
    reason: Reason.ValueType | None = None
    detail: Message | None = None
    for packed in status.details:
        info = error_details_pb2.ErrorInfo()
        if packed.Unpack(info) and info.domain == DOMAIN and info.reason in Reason.DESCRIPTOR.values_by_name:
            reason = Reason.Value(info.reason)
        for kind in _DETAILS:
            if packed.Is(kind.DESCRIPTOR):
                detail = kind.FromString(packed.value)
    if reason is None:
        return internal()
    return Refused(reason, status.message, detail=detail)


def invalid(**fields: str) -> Refused:
    """INVALID_REQUEST that names each bad field (lowerCamelCase, dots for nesting) and what is wrong."""
    return violated(fields.items())


def violated(violations: Iterable[tuple[str, str]]) -> Refused:
    """As `invalid`, of pairs; names the first MAX_VIOLATIONS of them only: a status travels in a header."""
    detail = error_details_pb2.BadRequest()
    for field, description in islice(violations, MAX_VIOLATIONS):
        detail.field_violations.add(field=field, description=description)
    message = "; ".join(f"{found.field} {found.description}" for found in detail.field_violations)
    return Refused(Reason.INVALID_REQUEST, message, detail=detail)


def internal() -> Refused:
    """A fault on our side. The text is constant: what happened is in the log, under the trace id."""
    return Refused(Reason.INTERNAL, "Something went wrong on our side.")
