"""Where Envoy sends requests on: the services and the receiver of traces."""

import ipaddress
from typing import Any, Final

from gateway.envoy.settings import GatewaySettings, split_address

OTLP: Final = "otlp"
NOWHERE: Final = "nowhere"
_TLS: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_HTTP: Final = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def clusters(settings: GatewaySettings) -> list[dict[str, Any]]:
    """One cluster a name of the mesh, over mTLS, one for spans, and one that leads nowhere."""
    made = [
        {**_cluster(name, address), "transport_socket": _mutual_tls(name, settings)}
        for name, address in settings.upstreams.items()
    ]
    # Trace ids come from the tracer, and Envoy has no tracer without somewhere to send spans.
    spans = _cluster(OTLP, settings.otlp) if settings.otlp else _empty(OTLP)
    return [*made, spans, _empty(NOWHERE)]


def _empty(name: str) -> dict[str, Any]:
    """A cluster without anybody in it."""
    return {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name}}


def _cluster(name: str, address: str) -> dict[str, Any]:
    host, port = split_address(address)
    endpoint = {"address": {"socket_address": {"address": host, "port_value": port}}}
    return {
        "name": name,
        # Neither health checks nor outlier ejection: a service that comes back is used by the next request.
        # Envoy connects anew for each request while there is no connection, and Kubernetes takes what is not
        # ready out of the DNS answer.
        "type": "STATIC" if _is_ip(host) else "STRICT_DNS",
        "lb_policy": "LEAST_REQUEST",
        "connect_timeout": "0.5s",
        # Envoy's defaults (1,024 of each) are a limit that one busy partner meets; the gatekeeper bounds callers.
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": 1024,
                    "max_pending_requests": 4096,
                    "max_requests": 8192,
                    "retry_budget": {"budget_percent": {"value": 10}, "min_retry_concurrency": 10},
                }
            ]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _HTTP,
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        # A machine that vanishes sends no FIN. The kernel's keepalive finds out; HTTP/2 pings on an idle
        # connection are what gRPC servers hang up on.
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 10, "keepalive_interval": 2}
        },
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
    }


def _mutual_tls(name: str, settings: GatewaySettings) -> dict[str, Any]:
    def file(part: str) -> dict[str, str]:
        return {"filename": str(settings.tls_dir / part)}

    identity = {"san_type": "URI", "matcher": {"exact": f"spiffe://rewards.mesh/{name}"}}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": _TLS,
            "sni": name.replace("_", "-"),
            "common_tls_context": {
                "alpn_protocols": ["h2"],
                # Envoy's clients stop at 1.2 unless the maximum is named as well.
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
                "tls_certificates": [{"certificate_chain": file("tls.crt"), "private_key": file("tls.key")}],
                "validation_context": {"trusted_ca": file("ca.crt"), "match_typed_subject_alt_names": [identity]},
            },
        },
    }


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
