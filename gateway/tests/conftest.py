from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_tools import protoc

from devmesh.pki import Authority
from gateway.tests import gate as gates
from gateway.tests.gate import Gate, Probe

ROOT = Path(__file__).resolve().parents[2]
DESCRIPTORS = ROOT / "protos" / "gen" / "descriptors.binpb"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.load_or_create(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def descriptors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The protos of the mesh, and one that has what none of them has yet."""
    folder = tmp_path_factory.mktemp("protos")
    alone, both = folder / "probe.binpb", folder / "all.binpb"
    arguments = [f"-I{Path(__file__).parent}", f"--descriptor_set_in={DESCRIPTORS}", f"--descriptor_set_out={alone}"]
    assert protoc.main(["protoc", *arguments, "probe.proto"]) == 0
    both.write_bytes(DESCRIPTORS.read_bytes() + alone.read_bytes())
    return both


@pytest.fixture(scope="session")
def probe(descriptors: Path) -> Probe:
    """The messages of the probe by their short names."""
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(descriptors.read_bytes()).file:
        pool.Add(file)
    names = ("Everything", "Inner", "ExportRequest")
    found = {name: pool.FindMessageTypeByName(f"rewards.probe.v1.{name}") for name in names}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


@pytest.fixture(scope="session")
async def shared_gate(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, descriptors: Path
) -> AsyncIterator[Gate]:
    async with gates.running(tmp_path_factory.mktemp("envoy"), authority, descriptors) as gate:
        yield gate


@pytest.fixture
def gate(shared_gate: Gate) -> Gate:
    gates.reset(shared_gate)
    return shared_gate
