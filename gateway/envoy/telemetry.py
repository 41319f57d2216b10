"""What the gateway says of a request: its span and its line in the access log.

Neither holds a path or a query: both may carry a claim's token. They name the route instead, which the Lua
filter leaves in dynamic metadata.
"""

from typing import Any, Final

from gateway.envoy.clusters import OTLP
from gateway.envoy.settings import GatewaySettings

STATE: Final = "rewards.gateway"
_TRACE: Final = "type.googleapis.com/envoy.extensions.tracers.opentelemetry."


def tracing(settings: GatewaySettings) -> dict[str, Any]:
    """Spans by OTLP, sampled by the caller's decision if it sent one. Without a receiver there are ids only."""
    ratio = {"numerator": settings.sampled_percent, "denominator": "HUNDRED"}
    by_ratio = {
        "name": "ratio",
        "typed_config": {
            "@type": f"{_TRACE}samplers.v3.TraceIdRatioBasedSamplerConfig",
            "sampling_percentage": ratio,
        },
    }
    sampler = {
        "name": "envoy.tracers.opentelemetry.samplers.parent_based",
        "typed_config": {"@type": f"{_TRACE}samplers.v3.ParentBasedSamplerConfig", "wrapped_sampler": by_ratio},
    }
    provider = {
        "name": "envoy.tracers.opentelemetry",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
            "service_name": "gateway",
            "sampler": sampler,
            "grpc_service": {"envoy_grpc": {"cluster_name": OTLP}, "timeout": "0.25s"},
        },
    }
    return {
        "random_sampling": {"value": 100},  # the sampler decides
        "spawn_upstream_span": True,
        "max_path_tag_length": 1,
        "custom_tags": [
            _tag("http.route", STATE, "route"),
            _tag("rewards.credential", "envoy.filters.http.ext_authz", "credential"),
        ],
        "provider": provider,
    }


def _tag(name: str, source: str, key: str) -> dict[str, Any]:
    return {"tag": name, "metadata": {"kind": {"request": {}}, "metadata_key": {"key": source, "path": [{"key": key}]}}}


def access_log() -> list[dict[str, Any]]:
    """One JSON line a request to stdout."""
    line = {
        "time": "%START_TIME%",
        "service": "gateway",
        "trace_id": "%TRACE_ID%",
        "request_id": "%RESP(X-REQUEST-ID)%",
        "method": "%REQ(:METHOD)%",
        "route": f"%DYNAMIC_METADATA({STATE}:route)%",
        "credential": "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:credential)%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "duration_ms": "%DURATION%",
        "upstream_ms": "%RESPONSE_DURATION%",
        "received_bytes": "%BYTES_RECEIVED%",
        "sent_bytes": "%BYTES_SENT%",
        "protocol": "%PROTOCOL%",
        "peer": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    }
    stdout = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
    return [
        {
            "name": "envoy.access_loggers.stdout",
            "filter": {"not_health_check_filter": {}},
            "typed_config": {"@type": stdout, "log_format": {"json_format": line}},
        }
    ]
