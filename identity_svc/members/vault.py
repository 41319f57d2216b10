"""Personal data under a key of its own for each member, so that destroying the key erases the member (G52)."""

import unicodedata
from dataclasses import dataclass
from typing import Final

from identity_svc.members.rules import Relation
from identity_svc.pepper import Box, Pepper, mac

# What a password's hash is sealed as.
PASSWORD: Final = "password"  # noqa: S105 - the purpose, not a password


@dataclass(frozen=True, slots=True)
class MemberBox:
    """Seals what is known of one member. What was sealed for another member or purpose does not open."""

    program_id: str
    member_id: str
    box: Box

    def seal(self, purpose: str, plain: bytes) -> bytes:
        """`plain` for the member's eyes, for example as its "attributes"."""
        return self.box.seal(plain, purpose, self.program_id, self.member_id)

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """What was sealed. Raises ValueError if it was for another purpose or member."""
        return self.box.open(sealed, purpose, self.program_id, self.member_id)


class Vault:
    """Makes and opens members' keys, which are kept wrapped under a key of the pepper."""

    def __init__(self, pepper: Pepper) -> None:
        self._pepper = pepper
        self._wrapping = Box(pepper.key("member keys"))

    def new_box(self, program_id: str, member_id: str) -> tuple[MemberBox, bytes]:
        """A new member's box and its wrapped key."""
        box, key = Box.fresh()
        return MemberBox(program_id, member_id, box), self._wrapping.seal(key, program_id, member_id)

    def box(self, program_id: str, member_id: str, wrapped: bytes) -> MemberBox:
        """The member's box. Raises ValueError if the key is another member's."""
        return MemberBox(program_id, member_id, Box(self._wrapping.open(wrapped, program_id, member_id)))

    def relation_mac(self, program_id: str, relation: Relation) -> bytes:
        """By what a relation is found: the same for the two ways in which Unicode may write one value."""
        key = self._pepper.key(f"relations of {program_id}")
        return mac(key, relation.type, unicodedata.normalize("NFC", relation.value))

    def attribute_mac(self, program_id: str, name: str, text: str) -> bytes:
        """By what a value of an attribute is found."""
        return mac(self._pepper.key(f"attributes of {program_id}"), name, text)
