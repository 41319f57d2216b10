"""One exact route an RPC, so that what is not published does not exist."""

from collections.abc import Iterable
from typing import Any, Final

from gateway.envoy.clusters import NOWHERE
from gateway.openapi.document import PATH
from gateway.surface import ROOTS, Rpc, family

DEADLINE_MS: Final = 5_000
# Services give up at the deadline and say so in words; Envoy's own timeout is for one that does not. It counts from the
# end of the request. A max_stream_duration, also one that only caps grpc-timeout, would take its place.
_TIMEOUT: Final = "5.5s"
_CORS: Final = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy"
_OFF: Final = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
_OURS: Final = ("x-envoy-original-path", "x-envoy-original-method")
_CREDENTIALS: Final = ("authorization", "x-api-key", "cookie")

# Both happen before the service has seen anything of the request: no connection came about, or HTTP/2 says
# that the stream was not looked at. So even a write may be tried again. Nothing else is: after bytes were
# sent the outcome is unknown, and only the caller has the idempotency key's other half, its patience.
_RETRY: Final = {
    "retry_on": "connect-failure,refused-stream",
    "num_retries": 2,
    "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
}


def virtual_host(rpcs: Iterable[Rpc], document: str) -> dict[str, Any]:
    """The one virtual host: the RPCs, the OpenAPI document, and nothing behind any other path."""
    return {
        "name": "all",
        "domains": ["*"],
        "typed_per_filter_config": {"envoy.filters.http.cors": _cors()},
        "routes": [_document(document), *map(_route, rpcs), *map(_untranscoded, ROOTS)],
    }


def _document(text: str) -> dict[str, Any]:
    """The document, out of Envoy's own memory: no credential, no service, and so no filter that asks for either."""
    headers = {
        "content-type": "application/json",
        "cache-control": "public, max-age=300",
        # The CORS filter leaves routes alone that lead to no cluster, and portals read this from a browser.
        "access-control-allow-origin": "*",
    }
    return {
        "name": "document",
        "match": {"path": PATH},
        "direct_response": {"status": 200, "body": {"inline_string": text}},
        "typed_per_filter_config": {
            "envoy.filters.http.grpc_json_transcoder": _OFF,
            "envoy.filters.http.ext_authz": _OFF,
        },
        "response_headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in headers.items()
        ],
    }


def _route(rpc: Rpc) -> dict[str, Any]:
    hidden = [*_OURS, *(() if rpc.open_to_all else _CREDENTIALS)]
    timeout = {"timeout": "0s", "idle_timeout": "120s"} if rpc.streams else {"timeout": _TIMEOUT}
    deadline = {"header": {"key": "grpc-timeout", "value": f"{DEADLINE_MS}m"}, "append_action": "ADD_IF_ABSENT"}
    return {
        "name": rpc.path[1:],
        "match": {"path": rpc.path},
        "route": {
            "cluster": rpc.cluster,
            **timeout,
            "retry_policy": _RETRY,
        },
        "decorator": {"operation": rpc.path[1:], "propagate": False},
        # The path may hold a claim's token. The gatekeeper has judged the credential, and nobody behind it
        # needs either; where an RPC is open to all, its service reads the credential itself (HTTP Basic).
        "request_headers_to_remove": hidden,
        **({} if rpc.streams else {"request_headers_to_add": [deadline]}),
    }


def _untranscoded(root: str) -> dict[str, Any]:
    # A REST path has a route of its own only for the CORS filter, which acts on no request without one that leads
    # to a cluster. What is sent on has the RPC's path by then. No other site has a business with our pages.
    filters = {"envoy.filters.http.cors": _OFF} if family(root) == "page" else {}
    route = {"name": f"rest {root}", "match": {"prefix": root}, "route": {"cluster": NOWHERE}}
    return {**route, "typed_per_filter_config": filters}


def _cors() -> dict[str, Any]:
    # Any origin: credentials are sent by hand and never by the browser itself, so there is nothing to protect.
    return {
        "@type": _CORS,
        "allow_origin_string_match": [{"safe_regex": {"regex": ".*"}}],
        "allow_methods": "GET, POST, PUT, PATCH, DELETE",
        "allow_headers": "authorization, content-type, idempotency-key, if-none-match, x-api-key, traceparent",
        "expose_headers": "deprecation, etag, idempotency-replayed, link, retry-after, sunset, x-ratelimit-limit, "
        "x-ratelimit-remaining, x-ratelimit-reset, x-request-id, x-trace-id",
        "max_age": "600",
    }
