"""The form of Envoy's own answers where the Lua filter cannot give it.

Most of them pass the filter and get their envelope there. Three kinds do not: what is refused before the
filters see the request (it is not HTTP, its path or its headers are not acceptable), what goes wrong after
the answer's headers have passed them, and native gRPC, whose callers get a status and no envelope.
"""

import json
from typing import Any, Final

from gateway.envoy.schema import reasons
from gateway.envoy.telemetry import STATE

_UNAVAILABLE: Final = "The service is unavailable. Try again with the same key."

# Envoy has no ids of its own for a request that it refuses before the filters. The access log has the one made
# here; the trace id of zeros is W3C's way to say that there is no trace.
_NO_TRACE: Final = "0" * 32


def local_replies() -> dict[str, Any]:
    """First match wins; what matches none is left as it is, for the Lua filter."""
    early = _unknown_to_lua("route")
    grpc = _all(_is_grpc(), _unknown_to_lua("rest"))
    too_large = _envelope("PAYLOAD_TOO_LARGE", "The headers are over 16 KB.", status=431)
    not_http = _envelope("INVALID_REQUEST", "The request is not valid HTTP.")
    overloaded = _envelope("UNAVAILABLE", _UNAVAILABLE)
    overloaded["headers_to_add"].append(_if_absent("retry-after", "1"))
    broken = _envelope("INTERNAL", "Something went wrong on our side.", trace_id="%REQ(X-TRACE-ID)%")
    return {
        "mappers": [
            {**_text("The service is unavailable."), "filter": _all(grpc, _status("GE", 500))},
            {**_text("%LOCAL_REPLY_BODY%"), "filter": grpc},
            {**too_large, "filter": _all(early, _status("EQ", 431))},
            {**broken, "filter": _status("EQ", 500)},
            {**overloaded, "filter": _all(early, _status("GE", 500))},
            {**not_http, "filter": _all(early, _status("GE", 400))},
        ]
    }


def _envelope(reason: str, message: str, *, status: int | None = None, trace_id: str = _NO_TRACE) -> dict[str, Any]:
    spec = reasons()[reason]
    body = {
        "IsSucessful": False,
        "ErrorCode": spec["code"],
        "ExceptionMessage": message,
        "ReturnObject": {"reason": reason, "details": {}},
    }
    text = json.dumps(body, separators=(",", ":"))
    return {
        "status_code": status or spec["status"],
        "body_format_override": {"text_format_source": {"inline_string": text}, "content_type": "application/json"},
        "headers_to_add": [_if_absent("x-request-id", "%UNIQUE_ID%"), _if_absent("x-trace-id", trace_id)],
    }


def _if_absent(name: str, value: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": "ADD_IF_ABSENT"}


def _text(text: str) -> dict[str, Any]:
    return {"body_format_override": {"text_format_source": {"inline_string": text}}}


def _all(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"and_filter": {"filters": list(filters)}}


def _is_grpc() -> dict[str, Any]:
    # The transcoder gives this content type to REST requests too, so it says nothing by itself.
    grpc = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    return {"header_filter": {"header": grpc}}


def _status(comparison: str, status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": f"local_reply.{status}"}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": value}}}


def _unknown_to_lua(key: str) -> dict[str, Any]:
    # The filter leaves "route" for every request that it has seen, and "rest" for those that are not native
    # gRPC. A matcher that no value fits is true exactly where there is none.
    nothing = {"filter": STATE, "path": [{"key": key}], "value": {"string_match": {"exact": ""}}}
    return {"metadata_filter": {"matcher": nothing, "match_if_key_not_found": True}}
