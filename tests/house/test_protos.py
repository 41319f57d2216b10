"""Rules of the house about the wire: every RPC declares its access, every reason is complete, and the page that lists
the reasons says what the proto says."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import EnumValueDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import code_pb2
from rewards.errors.v1 import errors_pb2
from rewards.options.v1.options_pb2 import Idempotency

from gateway.openapi.comments import Comments
from gateway.openapi.refusals import reasons
from gateway.surface import load
from svckit.call import Method, methods
from svckit.errors import spec

ROOT = Path(__file__).parents[2]
GEN = ROOT / "protos" / "gen"
DESCRIPTORS = GEN / "descriptors.binpb"
BUF = Path(sys.executable).with_name("buf")
BINDING = {3003, *range(4001, 4009), *range(5002, 5007), 5008, 5010}
VERBS_THAT_READ = ("Get", "List", "Check", "Quote")
# A one-time code is a key itself: asking again makes another one, and using it again is refused.
KEYED_BY_A_CODE = ("GenerateOTP", "VerifyOTP", "PasswordlessSignIn")


def rpcs() -> list[Method]:
    names = sorted((GEN / "rewards").rglob("*_pb2.py"))
    modules = [importlib.import_module(".".join(path.relative_to(GEN).with_suffix("").parts)) for path in names]
    services = [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
    return list(methods(*services).values())


@pytest.mark.parametrize("rpc", rpcs(), ids=lambda rpc: rpc.path)
def test_every_rpc_declares_its_access(rpc: Method) -> None:
    access = rpc.access
    assert access is not None
    assert any((access.public, access.claim, access.partner, access.scope, access.operator, access.services))


@pytest.mark.parametrize("rpc", rpcs(), ids=lambda rpc: rpc.path)
def test_a_partners_write_needs_a_key(rpc: Method) -> None:
    assert rpc.access is not None
    exempt = rpc.name.startswith(VERBS_THAT_READ) or rpc.name in KEYED_BY_A_CODE
    writes = rpc.access.scope.endswith(":write") and not exempt
    items = rpc.request.fields_by_name.get("items")
    item = None if items is None else items.message_type
    each = item is not None and "idempotency_key" in item.fields_by_name
    assert not writes or each or rpc.idempotency != Idempotency.IDEMPOTENCY_UNSPECIFIED


@pytest.mark.parametrize("value", errors_pb2.Reason.DESCRIPTOR.values[1:], ids=lambda value: value.name)
def test_every_reason_is_complete(value: EnumValueDescriptor) -> None:
    found = value.GetOptions().Extensions[errors_pb2.spec]
    assert 400 <= found.http_status <= 504
    assert found.code
    assert found.retry
    assert found.binds == (value.number in BINDING)


def test_the_page_of_errors_says_what_the_proto_says() -> None:
    rows = ["| ErrorCode | reason | HTTP | gRPC | retry | remembered |", "|---|---|---|---|---|---|"]
    for reason in reasons(Comments(load(DESCRIPTORS))).values():
        code = code_pb2.Code.Name(spec(errors_pb2.Reason.Value(reason.name)).code)
        retry = reason.retry.removesuffix(".")
        row = (str(reason.code), reason.name, str(reason.status), code, retry, "yes" if reason.binds else "no")
        rows.append(f"| {' | '.join(row)} |")
    assert "\n".join(rows) in (ROOT / "docs" / "errors.md").read_text()


def test_a_broken_proto_is_caught(tmp_path: Path) -> None:
    """The frozen image guards the wire: a field that is gone makes the check fail."""
    frozen = FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())
    points = next(file for file in frozen.file if file.name.endswith("points.proto"))
    del points.message_type[0].field[0]
    broken = tmp_path / "broken.binpb"
    broken.write_bytes(frozen.SerializeToString())
    against = ["--against", str(DESCRIPTORS), "--config", str(ROOT / "protos" / "buf.yaml")]
    done = subprocess.run(
        [str(BUF), "breaking", str(broken), *against], capture_output=True, text=True, check=False, cwd=ROOT / "protos"
    )
    assert done.returncode != 0
    assert "deleted" in done.stdout + done.stderr
