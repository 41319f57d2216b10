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
from gateway.envoy.surface import load, published

_CONNECTIONS_MAX: Final = 10_000


def render(settings: GatewaySettings) -> str:
    """Envoy's bootstrap as JSON, which is YAML too. The same settings and protos give the same text.

    Raises ValueError if an RPC's REST form could not be reached, KeyError if its service has no address.
    """
    descriptors = load(settings.descriptors)
    rpcs = published(descriptors)
    for rpc in rpcs:
        settings.upstreams[rpc.cluster]
    script = bundle(Schema(descriptors).tables(rpcs))
    edge = listener(settings, virtual_host(rpcs), http_filters(rpcs, descriptors, script))
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
    package = "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3"
    kind = f"{package}.DownstreamConnectionsConfig"
    monitor = {"@type": kind, "max_active_downstream_connections": _CONNECTIONS_MAX}
    return {
        "resource_monitors": [
            {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": monitor}
        ]
    }
