"""Every RPC of the four services and every scope that one of them declares, read off the protos.

All generated modules are imported by what lies in their folder, so a new proto is known without a list.
"""

import importlib
from pathlib import Path
from typing import Final

from google.protobuf.descriptor import FileDescriptor
from rewards.options.v1 import options_pb2

from svckit.call import Method, methods


def _files() -> list[FileDescriptor]:
    root = Path(options_pb2.__file__).parents[3]
    names = sorted(path.relative_to(root).with_suffix("") for path in (root / "rewards").rglob("*_pb2.py"))
    return [importlib.import_module(".".join(name.parts)).DESCRIPTOR for name in names]


METHODS: Final[dict[str, Method]] = methods(
    *(service for file in _files() for service in file.services_by_name.values())
)
OPERATIONS: Final[frozenset[str]] = frozenset(method.name for method in METHODS.values())
SCOPES: Final[frozenset[str]] = frozenset(
    method.access.scope for method in METHODS.values() if method.access is not None and method.access.scope
)
