"""A servicer with its descriptor, by the name of its service."""

from typing import Any

from google.protobuf.descriptor import FileDescriptor

from svckit.server import Served


def served(messages: Any, services: Any, name: str, servicer: object) -> Served:
    """The service `name` of a proto, whose generated modules are `messages` and `services`."""
    file: FileDescriptor = messages.DESCRIPTOR
    return Served(file.services_by_name[name], getattr(services, f"add_{name}Servicer_to_server"), servicer)
