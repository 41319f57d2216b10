"""Whose deed an entry of the audit trail is."""

from dataclasses import dataclass
from typing import Self

from svckit import call


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a credential's id or the name of a command, and the request, if there is one."""

    name: str
    request_id: str = ""

    @classmethod
    def caller(cls) -> Self:
        """Whoever makes the call that this task answers."""
        ours = call.current()
        return cls(ours.principal.name, ours.metadata.get("x-request-id", ""))
