"""What the rendering needs to know of its surroundings."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from rewards.options.v1.options_pb2 import Deprecation

from gateway.surface import DESCRIPTORS
from gateway.versions import VERSIONS
from svckit.config import required


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """The gateway's surroundings.

    `upstreams` maps a name of the mesh ("ledger_svc") to host:port. `tls_dir` has tls.crt,
    tls.key and ca.crt of the name `gateway`. `otlp` is the host:port of an OTLP receiver over gRPC, or None.
    `versions` are the versions that are on their way out, by the roots of their paths.
    The admin port is always on loopback: whoever reaches it can stop the gateway.
    """

    listen_host: str
    listen_port: int
    admin_port: int
    tls_dir: Path
    upstreams: Mapping[str, str]
    otlp: str | None
    environment: str
    descriptors: Path
    versions: Mapping[str, Deprecation] = field(default_factory=lambda: VERSIONS)

    @classmethod
    def from_env(cls) -> Self:
        """Reads REWARDS_LISTEN, REWARDS_ADMIN_LISTEN, REWARDS_TLS_DIR, REWARDS_PEERS, REWARDS_ENVIRONMENT and
        OTEL_EXPORTER_OTLP_ENDPOINT. Raises SystemExit if one is missing or not usable."""
        host, port = split_address(required("REWARDS_LISTEN"))
        admin_host, admin_port = split_address(os.environ.get("REWARDS_ADMIN_LISTEN", "127.0.0.1:9901"))
        if admin_host not in {"127.0.0.1", "localhost"}:
            raise SystemExit("REWARDS_ADMIN_LISTEN must be on 127.0.0.1")
        pairs = (pair.partition("=") for pair in required("REWARDS_PEERS").split(","))
        endpoint = urlsplit(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""))
        if endpoint.scheme not in {"", "http"}:
            raise SystemExit("OTEL_EXPORTER_OTLP_ENDPOINT must be http://host:port")
        return cls(
            listen_host=host,
            listen_port=port,
            admin_port=admin_port,
            tls_dir=Path(required("REWARDS_TLS_DIR")),
            upstreams={name: address for name, _, address in pairs},
            otlp=endpoint.netloc or None,
            environment=os.environ.get("REWARDS_ENVIRONMENT", "development"),
            descriptors=DESCRIPTORS,
        )

    @property
    def sampled_percent(self) -> int:
        """The share of traces that is kept, where the caller's own trace does not decide it."""
        if self.otlp is None:
            return 0
        return 1 if self.environment == "production" else 100


def split_address(address: str) -> tuple[str, int]:
    """The host and the port of "host:port" or "[::1]:port". Raises SystemExit if it is neither."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise SystemExit(f"{address!r} is not host:port")
    return host.strip("[]"), int(port)
