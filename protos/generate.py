"""Generates Python code, type stubs and the descriptor set from the protos into `protos/gen`.

`protos/gen` is ignored by git and found through a `.pth` file in the virtual environment, so that
`from rewards.ledger.v1 import points_pb2` is the proto's own path. A stamp (the hash of the protos and
of the tools) makes a second run free; `python protos/generate.py --check` only says whether it is fresh.
"""

import hashlib
import importlib.metadata
import shutil
import site
import subprocess
import sys
from pathlib import Path

import grpc_tools

HERE = Path(__file__).parent.resolve()
GEN = HERE / "gen"
STAMP = GEN / ".stamp"
DESCRIPTORS = GEN / "descriptors.binpb"
VALIDATE = GEN / "validate.binpb"
TOOLS = ("grpcio-tools", "mypy-protobuf", "protobuf", "protovalidate", "googleapis-common-protos")


def sources() -> list[Path]:
    """Every hand-written proto, in a stable order."""
    return sorted(p for p in HERE.rglob("*.proto") if GEN not in p.parents)


def digest() -> str:
    """What the generated code depends on: the protos, this script, and the tools' versions."""
    sha = hashlib.sha256(Path(__file__).read_bytes())
    for path in sources():
        sha.update(str(path.relative_to(HERE)).encode() + path.read_bytes())
    for tool in TOOLS:
        sha.update(f"{tool}={importlib.metadata.version(tool)}".encode())
    return sha.hexdigest()


def fresh() -> bool:
    """True if `protos/gen` was made from the protos as they are now."""
    return STAMP.exists() and STAMP.read_text() == digest()


def run_protoc() -> None:
    """Runs protoc over all sources. Raises SystemExit on the first error."""
    # The rules of protovalidate are in no wheel as text, only as a descriptor: protoc takes both.
    from protovalidate._gen.buf.validate import validate_pb

    VALIDATE.write_bytes(b"\x0a" + _varint_prefixed(validate_pb.desc().proto.to_binary()))
    wheels = Path(site.getsitepackages()[0])
    names = [str(path.relative_to(HERE)) for path in sources()]
    common = [
        f"-I{HERE}",
        f"-I{wheels}",
        f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
        f"--descriptor_set_in={VALIDATE}",
    ]
    outputs = [
        [f"--python_out={GEN}", f"--mypy_out={GEN}", *names, "buf/validate/validate.proto"],
        [f"--grpc_python_out={GEN}", f"--mypy_grpc_out={GEN}", *names],
        [
            f"--descriptor_set_out={DESCRIPTORS}",
            "--include_imports",
            "--include_source_info",
            *names,
        ],
    ]
    for output in outputs:
        # Its chatter is shown only where it failed: among it is a warning about an import that Envoy needs.
        command = [sys.executable, "-m", "grpc_tools.protoc", *common, *output]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"protoc failed\n{done.stderr}")


def _varint_prefixed(data: bytes) -> bytes:
    """`data` with its length before it, as field 1 of a FileDescriptorSet needs it."""
    length, prefix = len(data), bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*prefix, length]) + data


def main() -> None:
    """Generates unless the stamp says that nothing changed."""
    if "--check" in sys.argv:
        sys.exit(None if fresh() else "protos/gen is stale: run `make protos`")
    if fresh():
        return
    shutil.rmtree(GEN, ignore_errors=True)
    GEN.mkdir()
    run_protoc()
    (Path(site.getsitepackages()[0]) / "rewards_mesh_protos.pth").write_text(f"{GEN}\n")
    STAMP.write_text(digest())


if __name__ == "__main__":
    main()
