"""The gatekeeper's answers, read as Envoy and the filter behind it read them."""

import base64
import json

from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status


def passed(answer: object) -> tuple[dict[str, str], set[str]]:
    """The headers that an answer sets, each over what the client sent, and those that it removes."""
    ok = answer.ok_response  # type: ignore[attr-defined]
    assert answer.WhichOneof("http_response") == "ok_response", answer  # type: ignore[attr-defined]
    assert answer.status.code == 0  # type: ignore[attr-defined]
    assert all(option.append_action == 2 for option in ok.headers)
    return {option.header.key: option.header.value for option in ok.headers}, set(ok.headers_to_remove)


def denied(answer: object) -> tuple[int, str]:
    """The HTTP status and the reason of a denial in JSON."""
    response = answer.denied_response  # type: ignore[attr-defined]
    assert answer.status.code != 0  # type: ignore[attr-defined]
    said = json.loads(response.body)
    assert said["code"] == answer.status.code  # type: ignore[attr-defined]
    assert said["message"]
    (info,) = said["details"]
    assert (info["@type"], info["domain"]) == ("type.googleapis.com/google.rpc.ErrorInfo", "rewards-mesh")
    return response.status.code, info["reason"]


def barred(answer: object) -> str:
    """The reason for which a caller whom the gatekeeper knows is refused, in the headers of a gRPC answer."""
    headers, _ = passed(answer)
    assert "x-rewards-limits" not in headers
    refusal = dict(answer.dynamic_metadata["refusal"])  # type: ignore[attr-defined]
    status = in_grpc(refusal["grpc-status-details-bin"])
    assert (refusal["grpc-status"], refusal["grpc-message"]) == (str(status.code), status.message)
    assert answer.dynamic_metadata["credential"] == headers["x-rewards-credential"]  # type: ignore[attr-defined]
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    return str(info.reason)


def in_grpc(details: str) -> Status:
    return Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))


def sent(answer: object) -> dict[str, str]:
    headers = answer.denied_response.headers  # type: ignore[attr-defined]
    return {option.header.key: option.header.value for option in headers}
