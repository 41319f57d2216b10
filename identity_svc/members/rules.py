"""What a member is, what attributes and relations may be, and what a change makes of a member."""

import enum
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from svckit.errors import Reason, Refused, invalid

ATTRIBUTES_MAX: Final = 100
ATTRIBUTES_MAX_BYTES: Final = 32_768
LIST_MAX: Final = 100
TEXT_MAX: Final = 2_000
RELATIONS_MAX: Final = 100

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
# Controls, format characters such as bidi and zero-width ones, surrogates, line and paragraph separators:
# two ids that look the same would be two ids.
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

# A string, a finite number, a boolean, or a list of these.
Attributes = Mapping[str, Any]


class Status(enum.StrEnum):
    """What a member may do."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    LOGIN_BLOCKED = "LOGIN_BLOCKED"
    CANCELLED = "CANCELLED"
    MEMBERSHIP_BLOCKED = "MEMBERSHIP_BLOCKED"

    @property
    def signs_in(self) -> bool:
        """True if the member may sign in."""
        return self in (Status.ACTIVE, Status.SUSPENDED)

    @property
    def active(self) -> bool:
        """True if the member may earn and redeem: all that the ledger has to know."""
        return self in (Status.ACTIVE, Status.LOGIN_BLOCKED)


@dataclass(frozen=True, slots=True, order=True)
class Relation:
    """An identity elsewhere; unique in its program."""

    type: str
    value: str

    def same_as(self, other: "Relation") -> bool:
        """True for the two ways in which Unicode may write one relation."""
        mine, others = (unicodedata.normalize("NFC", value) for value in (self.value, other.value))
        return self.type == other.type and mine == others


@dataclass(frozen=True, slots=True)
class Member:
    """A member in the clear."""

    program_id: str
    member_id: str
    created_at: datetime
    status: Status = Status.ACTIVE
    attributes: Attributes = field(default_factory=dict)
    relations: tuple[Relation, ...] = ()
    version: int = 1

    @property
    def email(self) -> str:
        """Where mail to the member goes; empty if that is not known."""
        found = self.attributes.get("email")
        return found if isinstance(found, str) else ""

    @property
    def etag(self) -> str:
        """Changes with every change of the member; quoted, as HTTP wants it."""
        digest = sha256(f"{self.program_id}|{self.member_id}|{self.version}".encode()).hexdigest()
        return f'"{digest[:16]}"'


@dataclass(frozen=True, slots=True)
class Change:
    """What UpdateProfile asks for. `attributes` are merged, a None removes; `status` None leaves it; the
    change is for the member of `etag` only, unless that is empty."""

    attributes: Mapping[str, Any]
    status: Status | None
    etag: str


def changed(member: Member, change: Change) -> Member:
    """The member after the change, one version on, or `member` itself if nothing changes.

    Raises CONFLICT if the etag is no longer the member's, INVALID_REQUEST for attributes that cannot be kept.
    """
    if change.etag and change.etag != member.etag:
        raise Refused(Reason.CONFLICT, "The member has changed since the etag was read.")
    attributes, status = merged(member.attributes, change.attributes), change.status or member.status
    # As JSON, because True and 1.0 are equal in Python and different to the partner.
    if status is member.status and _json(attributes) == _json(member.attributes):
        return member
    return replace(member, attributes=attributes, status=status, version=member.version + 1)


def linked(member: Member, relation: Relation) -> Member:
    """The member with one more relation, one version on. Raises INVALID_REQUEST if it has too many."""
    if len(member.relations) >= RELATIONS_MAX:
        raise invalid(value=f"is one relation more than the {RELATIONS_MAX} that a member may have")
    return replace(member, relations=tuple(sorted({*member.relations, relation})), version=member.version + 1)


def unlinked(member: Member, relation: Relation) -> Member:
    """The member without a relation that it has, one version on."""
    left = tuple(one for one in member.relations if not one.same_as(relation))
    return replace(member, relations=left, version=member.version + 1)


def gained(survivor: Attributes, other: Attributes) -> dict[str, Any]:
    """What the survivor of a merge takes over: what it has not, as far as a member may have it."""
    found: dict[str, Any] = {}
    for name, value in other.items():
        if name not in survivor and _fits({**survivor, **found, name: value}):
            found[name] = value
    return found


def merged(stored: Attributes, sent: Mapping[str, Any]) -> dict[str, Any]:
    """The stored attributes with those sent over them; None removes.

    Raises INVALID_REQUEST that names the attribute, and never shows its value.
    """
    for name, value in sent.items():
        if not _NAME.fullmatch(name):
            # The name is not repeated: by mistake it may be personal data itself.
            raise invalid(attributes="has a name that is not a letter and up to 63 letters, digits or underscores")
        fault = _fault(value)
        if fault:
            raise invalid(**{f"attributes.{name}": fault})
    kept = {name: value for name, value in {**stored, **sent}.items() if value is not None}
    if not _fits(kept):
        raise invalid(attributes=f"are more than {ATTRIBUTES_MAX}, or more than {ATTRIBUTES_MAX_BYTES} bytes")
    return kept


def check_relation(relation: Relation, field_name: str) -> None:
    """Raises INVALID_REQUEST that names the field if the value has characters that cannot be seen."""
    if any(unicodedata.category(character) in _INVISIBLE for character in relation.value):
        raise invalid(**{field_name: "has a character that cannot be seen"})


def _fits(attributes: Attributes) -> bool:
    return len(attributes) <= ATTRIBUTES_MAX and len(_json(attributes)) <= ATTRIBUTES_MAX_BYTES


def _json(attributes: Attributes) -> bytes:
    return json.dumps(attributes, ensure_ascii=False, sort_keys=True).encode()


def _fault(value: object) -> str:
    """What is wrong with an attribute's value; empty if nothing is."""
    if value is None:
        return ""
    if not isinstance(value, list):
        return _scalar_fault(value)
    if len(value) > LIST_MAX:
        return f"has more than {LIST_MAX} elements"
    return next((fault for fault in map(_scalar_fault, value) if fault), "")


def _scalar_fault(value: object) -> str:
    match value:
        case str() if len(value) > TEXT_MAX:
            return f"is longer than {TEXT_MAX} characters"
        case float() if not math.isfinite(value):
            return "is not a finite number"
        case str() | bool() | float():
            return ""
        case _:
            return "must be a string, a number, a boolean or a list of these"
