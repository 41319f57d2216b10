"""The bootstrap as one text."""

import json
from typing import Any, Final

from gateway.envoy.clusters import clusters
from gateway.envoy.filters import http_filters
from gateway.envoy.listener import listener
from gateway.envoy.routes import virtual_host
from gateway.envoy.schema import Schema
from gateway.envoy.script import bundle
from gateway.envoy.settings import GatewaySettings
from gateway.openapi.document import text
from gateway.surface import load, published

_CONNECTIONS: Final = "envoy.resource_monitors.global_downstream_max_connections"
_HEAP: Final = "envoy.resource_monitors.fixed_heap"
_CONNECTIONS_MAX: Final = 10_000
_HEAP_MAX_BYTES: Final = 1 << 30


def render(settings: GatewaySettings) -> str:
    """Envoy's bootstrap as JSON, which is YAML too. The same settings and protos give the same text.

    Raises ValueError if an RPC's REST form could not be reached, KeyError if its service has no address.
    """
    descriptors = load(settings.descriptors)
    rpcs = published(descriptors)
    for rpc in rpcs:
        settings.upstreams[rpc.cluster]
    script = bundle(Schema(descriptors, settings.versions).tables(rpcs))
    edge = listener(
        settings, virtual_host(rpcs, text(descriptors, settings.versions)), http_filters(rpcs, descriptors, script)
    )
    bootstrap = {
        "node": {"id": "gateway", "cluster": "gateway"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": settings.admin_port}}},
        "overload_manager": _overload_manager(),
        # Spans leave after half a second instead of five: somebody may be waiting to see the trace.
        "layered_runtime": _runtime({"tracing.opentelemetry.flush_interval_ms": 500}),
        "static_resources": {"listeners": [edge], "clusters": clusters(settings)},
    }
    return json.dumps(bootstrap, indent=1)


def _runtime(values: dict[str, Any]) -> dict[str, Any]:
    return {"layers": [{"name": "static", "static_layer": values}]}


def _overload_manager() -> dict[str, Any]:
    """Bounds on what callers can make Envoy hold: connections, and memory for the bodies that filters wait for."""
    connections = {"max_active_downstream_connections": _CONNECTIONS_MAX}
    heap = {"max_heap_size_bytes": _HEAP_MAX_BYTES}
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            _monitor(_CONNECTIONS, "downstream_connections.v3.DownstreamConnections", connections),
            _monitor(_HEAP, "fixed_heap.v3.FixedHeap", heap),
        ],
        "actions": [_action("shrink_heap", 0.9), _action("stop_accepting_requests", 0.95)],
    }


def _monitor(name: str, message: str, config: dict[str, Any]) -> dict[str, Any]:
    kind = f"type.googleapis.com/envoy.extensions.resource_monitors.{message}Config"
    return {"name": name, "typed_config": {"@type": kind, **config}}


def _action(name: str, share: float) -> dict[str, Any]:
    trigger = {"name": _HEAP, "threshold": {"value": share}}
    return {"name": f"envoy.overload_actions.{name}", "triggers": [trigger]}
