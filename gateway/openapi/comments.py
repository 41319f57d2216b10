"""What the protos say in words."""

import re
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

# Fields of the descriptors' own messages: a comment is filed under the path of numbers that leads to its subject.
_FILE: Final = {4: "message_type", 5: "enum_type", 6: "service"}
_MESSAGE: Final = {2: "field", 3: "nested_type", 4: "enum_type", 8: "oneof_decl"}
_INSIDE: Final = {
    "message_type": _MESSAGE,
    "nested_type": _MESSAGE,
    "enum_type": {2: "value"},
    "service": {2: "method"},
}
# Rules of the house, which mean nothing to a partner.
_REFERENCE: Final = re.compile(r"\s*\([GL]\d+[^)]*\)")


class Comments:
    """The comments of a descriptor set, as text for partners."""

    def __init__(self, descriptors: FileDescriptorSet) -> None:
        self._texts = {name: text for file in descriptors.file for name, text in _texts(file)}

    def of(self, full_name: str) -> str:
        """What is said of a message, a field, an enum, one of its values, a service or an RPC; "" if nothing is.

        A value of an enum is named below the enum, "rewards.errors.v1.Reason.NOT_FOUND".
        """
        return self._texts.get(full_name, "")


def summary(text: str) -> str:
    """The first sentence, without its full stop."""
    return text.partition(". ")[0].removesuffix(".")


def _texts(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        if location.leading_comments:
            yield f"{file.package}{_name(file, list(location.path))}", _plain(location.leading_comments)


def _name(file: FileDescriptorProto, path: list[int]) -> str:
    node: Any = file
    inside, name = _FILE, ""
    while len(path) > 1 and path[0] in inside:
        kind = inside[path[0]]
        node = getattr(node, kind)[path[1]]
        name, inside, path = f"{name}.{node.name}", _INSIDE.get(kind, {}), path[2:]
    return name


def _plain(comment: str) -> str:
    paragraphs = re.split(r"\n\s*\n", comment.strip())
    return "\n\n".join(_REFERENCE.sub("", " ".join(paragraph.split())) for paragraph in paragraphs)
