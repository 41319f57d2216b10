"""The one listener: REST over HTTP/1.1 and HTTP/2, native gRPC over h2c, on the same port."""

from collections.abc import Sequence
from typing import Any, Final

from gateway.envoy.local_replies import local_replies
from gateway.envoy.settings import GatewaySettings
from gateway.envoy.telemetry import access_log, tracing

BUFFER_BYTES: Final = 4 << 20
# The contract's limit is 16 KB, which the Lua filter holds; over this one Envoy answers by itself.
HEADERS_KB: Final = 60
_MANAGER: Final = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
_EARLY: Final = "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"


def listener(
    settings: GatewaySettings, virtual_host: dict[str, Any], filters: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The public door."""
    manager = {
        "@type": _MANAGER,
        "stat_prefix": "edge",
        "codec_type": "AUTO",
        **_identity(),
        **_hardening(),
        "tracing": tracing(settings),
        "access_log": access_log(),
        "local_reply_config": local_replies(),
        "http_filters": list(filters),
        "route_config": {
            "name": "published",
            "virtual_hosts": [virtual_host],
            # The OpenAPI document is one, and Envoy's default is for a line of text.
            "max_direct_response_body_size_bytes": BUFFER_BYTES,
        },
    }
    return {
        "name": "edge",
        "address": {"socket_address": {"address": settings.listen_host, "port_value": settings.listen_port}},
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _identity() -> dict[str, Any]:
    """What a caller may say of itself: nothing. Principals and Envoy's own headers are ours to set."""
    removed = [
        {"remove_on_match": {"key_matcher": {"prefix": "x-rewards-", "ignore_case": True}}},
        {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-", "ignore_case": True}}},
        {"remove": "x-forwarded-client-cert"},
        {"remove": "x-trace-id"},
    ]
    return {
        "use_remote_address": True,
        "early_header_mutation_extensions": [
            {"name": "nothing_of_ours", "typed_config": {"@type": _EARLY, "mutations": removed}}
        ],
        "generate_request_id": True,
        "preserve_external_request_id": False,
        "always_set_request_id_in_response": True,
    }


def _hardening() -> dict[str, Any]:
    return {
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "max_request_headers_kb": HEADERS_KB,
        "request_headers_timeout": "10s",
        "request_timeout": "30s",
        "stream_idle_timeout": "300s",
        "common_http_protocol_options": {
            "headers_with_underscores_action": "REJECT_REQUEST",
            "idle_timeout": "300s",
        },
        # A method that Envoy does not know is a method that the path does not take.
        "http_protocol_options": {"allow_custom_methods": True},
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            # Over HTTP/2 this, and not the connection's limit, is how much of a body the filters may hold.
            "initial_stream_window_size": BUFFER_BYTES,
            "initial_connection_window_size": BUFFER_BYTES,
        },
    }
