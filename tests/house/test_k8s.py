"""The Kubernetes manifests say what the code needs: its variables, its edges, its names, its drain."""

import ast
import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grpc_health.v1 import health_pb2

from devmesh.pki import Authority
from svckit import server
from svckit.config import Config

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
SITE = K8S / "overlays" / "production"
SERVICES = ("identity_svc", "ledger_svc", "catalog_svc", "fulfillment_svc")
FOLDERS = {"gateway": "gateway/envoy"}
MESH = (*SERVICES, "gateway")
STAND_IN = ROOT / "fulfillment_svc" / "providers" / "sandbox"
# Of a migration only; the owner's address has no place in a pod that serves.
OWNERS = "REWARDS_MIGRATION_URL"
# What a person at a terminal sets to give a command; no part of the mesh has an operator's key.
OPERATORS = {"REWARDS_GRPC", "REWARDS_ADMIN_TOKEN"}
GRPC_PORT = 8443
RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}

Doc = dict[str, Any]


def documents(path: Path) -> list[Doc]:
    return list(yaml.safe_load_all(path.read_text()))


def merged(doc: Any, patch: Any) -> Any:
    """What kustomize's strategic merge does, as far as it is used here: lists of named things merge by their names."""
    if isinstance(doc, dict) and isinstance(patch, dict):
        return doc | {key: merged(doc.get(key), value) for key, value in patch.items()}
    if isinstance(doc, list) and all(isinstance(item, dict) and "name" in item for item in (*doc, *patch)):
        named = {item["name"]: item for item in doc}
        for item in patch:
            named[item["name"]] = merged(named.get(item["name"]), item)
        return list(named.values())
    return patch


def generated(folder: Path, generator: Doc) -> Doc:
    lines = [line for name in generator.get("envs", ()) for line in (folder / name).read_text().split("\n") if line]
    files = {name: (folder / name).read_text() for name in generator.get("files", ())}
    data = dict(line.split("=", 1) for line in lines) | files
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data}


def rendered(folder: Path) -> list[Doc]:
    """The manifests of a kustomization, without what images, replicas, labels and the namespace change."""
    (asked,) = documents(folder / "kustomization.yaml")
    paths = [folder / name for name in asked["resources"]]
    docs = [doc for path in paths for doc in (rendered(path) if path.is_dir() else documents(path))]
    for generator in asked.get("configMapGenerator", ()):
        made = generated(folder, generator)
        if generator.get("behavior") == "merge":
            (old,) = (doc for doc in docs if identity(doc) == identity(made))
            old["data"] |= made["data"]
        else:
            docs.append(made)
    for entry in asked.get("patches", ()):
        (patch,) = documents(folder / entry["path"])
        change, target = {"spec": patch["spec"]}, entry["target"]
        docs = [merged(doc, change) if is_target(doc, target) else doc for doc in docs]
    return docs


def is_target(doc: Doc, target: Doc) -> bool:
    kind, name = identity(doc)
    return bool(re.fullmatch(target["kind"], kind) and re.fullmatch(target.get("name", ".*"), name))


def identity(doc: Doc) -> tuple[str, str]:
    return doc["kind"], doc["metadata"]["name"]


DOCS = rendered(SITE)
BY_NAME = {identity(doc): doc for doc in DOCS}
WORKLOADS = [doc for doc in DOCS if doc["kind"] in {"Deployment", "Job"}]


def dns(name: str) -> str:
    return name.replace("_", "-")


def pod(kind: str, name: str) -> Doc:
    spec: Doc = BY_NAME[kind, name]["spec"]["template"]["spec"]
    return spec


def reader(name: str) -> tuple[Doc, Doc]:
    """The pod of a part of the mesh, and the container in it that reads the environment."""
    found = pod("Deployment", dns(name))
    return found, (found["initContainers"] if name == "gateway" else found["containers"])[0]


def environment(container: Doc) -> dict[str, str]:
    """The variables with their values; what comes from a Secret or the pod itself has none, but is set."""
    maps = [BY_NAME["ConfigMap", entry["configMapRef"]["name"]]["data"] for entry in container.get("envFrom", ())]
    own = {entry["name"]: entry.get("value", "") for entry in container.get("env", ())}
    return {name: value for data in maps for name, value in data.items()} | own


def sources(*folders: str) -> Iterator[ast.AST]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "tests" not in path.parts and not path.is_relative_to(STAND_IN):
                yield from ast.walk(ast.parse(path.read_text()))


def read_by(name: str) -> dict[str, set[str]]:
    """The names that a part of the mesh gives to `required` and to `secret`."""
    found: dict[str, set[str]] = {"required": set(), "secret": set()}
    for node in sources(FOLDERS.get(name, name), *(() if name == "gateway" else ("svckit",))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in found:
            found[node.func.id] |= {str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)}
    return found


def literals(*folders: str) -> set[str]:
    nodes = sources(*folders)
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def mounted(found: Doc, container: Doc) -> set[str]:
    """The files of Secrets that the container sees."""
    items = {volume["name"]: volume.get("secret", {}).get("items", ()) for volume in found["volumes"]}
    return {f"{m['mountPath']}/{item['path']}" for m in container["volumeMounts"] for item in items[m["name"]]}


def peers(name: str) -> dict[str, str]:
    pairs = environment(reader(name)[1]).get("REWARDS_PEERS", "")
    return dict(pair.split("=") for pair in pairs.split(",") if pair)


def called(name: str) -> set[str]:
    """Whom a part of the mesh calls: a server names its peers in its code, the gateway sends to everybody."""
    if name == "gateway":
        return set(SERVICES)
    return literals(FOLDERS.get(name, name)) & set(SERVICES) - {name}


def selected(rules: list[Doc], side: str) -> set[str]:
    """Which pods of the mesh the rules of one direction name."""
    labels = [
        pods["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
        for rule in rules
        for pods in rule.get(side, ())
        if "podSelector" in pods and rule["ports"] == [{"port": GRPC_PORT}]
    ]
    return {label.replace("-", "_") for label in labels}


@pytest.mark.parametrize("folder", [K8S / "base", SITE], ids=lambda folder: folder.name)
def test_every_file_is_listed(folder: Path) -> None:
    (asked,) = documents(folder / "kustomization.yaml")
    generators = asked.get("configMapGenerator", ())
    listed = {name for name in asked["resources"] if not (folder / name).is_dir()}
    listed |= {entry["path"] for entry in asked.get("patches", ())}
    listed |= {name for one in generators for name in (*one.get("envs", ()), *one.get("files", ()))}
    there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert there == listed | {"kustomization.yaml"}


def test_every_part_of_the_mesh_runs_once() -> None:
    assert len(BY_NAME) == len(DOCS)
    assert {name for kind, name in BY_NAME if kind == "Deployment"} == {dns(name) for name in MESH}
    assert {name for kind, name in BY_NAME if kind == "Job"} == {f"{dns(name)}-migration" for name in SERVICES}
    for name in SERVICES:
        container = pod("Deployment", dns(name))["containers"][0]
        assert [*container["command"], *container["args"]] == ["python", "-m", name]
        assert (ROOT / name / "__main__.py").is_file()


def test_the_site_sets_every_tag_and_count() -> None:
    (asked,) = documents(SITE / "kustomization.yaml")
    assert {one["name"] for one in asked["replicas"]} == {dns(name) for name in MESH}
    images = {one["image"] for doc in WORKLOADS for one in containers(doc)}
    assert {image for image in images if ":" not in image} == {one["name"] for one in asked["images"]}
    assert all(one["newTag"] != "latest" for one in asked["images"])


def containers(doc: Doc) -> list[Doc]:
    found = doc["spec"]["template"]["spec"]
    return [*found.get("initContainers", ()), *found["containers"]]


@pytest.mark.parametrize("doc", WORKLOADS, ids=lambda doc: doc["metadata"]["name"])
def test_every_workload_is_restricted_and_bounded(doc: Doc) -> None:
    found = doc["spec"]["template"]["spec"]
    assert found["securityContext"]["runAsNonRoot"] is True
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert found["automountServiceAccountToken"] is False
    for container in containers(doc):
        assert container["securityContext"] == RESTRICTED
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", MESH)
def test_every_server_is_probed_and_drains_in_time(name: str) -> None:
    found = pod("Deployment", dns(name))
    (container,) = found["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    stop = container["lifecycle"]["preStop"]
    pause_s = stop["sleep"]["seconds"] if "sleep" in stop else int(stop["exec"]["command"][-1].split()[-1])
    assert found["terminationGracePeriodSeconds"] > pause_s + server.DRAIN_S


@pytest.mark.parametrize("name", MESH)
def test_every_selector_means_the_same_pods(name: str) -> None:
    labels = {"app.kubernetes.io/name": dns(name)}
    deployment = BY_NAME["Deployment", dns(name)]["spec"]
    assert labels.items() <= deployment["template"]["metadata"]["labels"].items()
    selectors = [BY_NAME[kind, dns(name)]["spec"]["selector"] for kind in ("Deployment", "PodDisruptionBudget")]
    selectors.append(BY_NAME["NetworkPolicy", dns(name)]["spec"]["podSelector"])
    assert [selector["matchLabels"] for selector in selectors] == [labels] * 3
    assert BY_NAME["Service", dns(name)]["spec"]["selector"] == labels


@pytest.mark.parametrize("name", MESH)
def test_every_variable_that_is_required_is_set(name: str) -> None:
    found, container = reader(name)
    asked = read_by(name)
    env = environment(container)
    assert asked["required"] | asked["secret"] <= env.keys() | {OWNERS} | OPERATORS
    assert {env[variable] for variable in asked["secret"]} == mounted(found, container)
    known = " ".join(literals("svckit", "gateway", *SERVICES))
    assert [variable for variable in env if variable.startswith("REWARDS_") and variable not in known] == []
    assert not env.keys() & {OWNERS, *OPERATORS}


@pytest.mark.parametrize("name", SERVICES)
def test_a_migration_has_the_owners_address_and_nothing_else(name: str) -> None:
    (container,) = pod("Job", f"{dns(name)}-migration")["containers"]
    assert [*container["command"], *container["args"]] == ["python", "-m", name, "migrate"]
    assert environment(container).keys() == {OWNERS}


@pytest.mark.parametrize("name", MESH)
def test_a_part_reaches_the_peers_it_is_told_of_and_no_other(name: str) -> None:
    told = peers(name)
    assert told == {peer: f"{dns(peer)}:{GRPC_PORT}" for peer in called(name)}
    denied = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert BY_NAME["NetworkPolicy", "default-deny"]["spec"] == denied
    policy = BY_NAME["NetworkPolicy", dns(name)]["spec"]
    assert selected(policy.get("egress", []), "to") == told.keys()
    assert selected(policy["ingress"], "from") == {other for other in MESH if name in peers(other)}


@pytest.mark.parametrize("name", MESH)
def test_a_certificate_names_its_holder(name: str) -> None:
    spec = BY_NAME["Certificate", dns(name)]["spec"]
    assert (spec["dnsNames"], spec["uris"]) == ([dns(name)], [f"spiffe://rewards.mesh/{name}"])
    found, container = reader(name)
    (volume,) = (v for v in found["volumes"] if v.get("secret", {}).get("secretName") == spec["secretName"])
    paths = {mount["name"]: mount["mountPath"] for mount in found["containers"][0]["volumeMounts"]}
    assert paths[volume["name"]] == environment(container)["REWARDS_TLS_DIR"]


def test_the_page_names_every_secret_that_the_site_brings() -> None:
    entries = [entry for doc in WORKLOADS for one in containers(doc) for entry in one.get("env", ())]
    refs = [entry["valueFrom"]["secretKeyRef"] for entry in entries if "secretKeyRef" in entry.get("valueFrom", {})]
    volumes = [v.get("secret", {}) for doc in WORKLOADS for v in doc["spec"]["template"]["spec"].get("volumes", ())]
    files = {(secret["secretName"], item["key"]) for secret in volumes for item in secret.get("items", ())}
    rows = [line.split("|")[1:3] for line in (K8S / "README.md").read_text().splitlines() if line.startswith("| `")]
    listed = {(name, key) for names, keys in rows for name in names.split("`")[1::2] for key in keys.split("`")[1::2]}
    assert files | {(ref["name"], ref["key"]) for ref in refs} == listed


async def probe(authority: Authority, port: int) -> int:
    own = {"REWARDS_TLS_DIR": str(authority.issue("ledger_svc")), "REWARDS_LISTEN": f"0.0.0.0:{port}"}
    env = {**os.environ, **own, "PROBE_SERVER_NAME": "ledger-svc"}
    done = await asyncio.create_subprocess_exec(sys.executable, str(K8S / "base" / "probe.py"), env=env)
    return await done.wait()


async def test_the_probe_tells_whether_the_server_serves(authority: Authority) -> None:
    built, healthy, port = server.build(Config(listen="127.0.0.1:0", tls_dir=authority.issue("ledger_svc")), [])
    await built.start()
    status = health_pb2.HealthCheckResponse
    seen = []
    for one in (status.SERVING, status.NOT_SERVING):
        await healthy.set("", one)
        seen.append(await probe(authority, port))
    await built.stop(grace=0)
    assert [*seen, await probe(authority, port)] == [0, 1, 1]
