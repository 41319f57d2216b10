"""What a program's attributes may be: its definitions, what they refuse, and filters over them. Pure."""

import enum
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from identity_svc.members.rules import Attributes
from svckit.errors import invalid

FILTERS_MAX: Final = 5
_CONDITION: Final = re.compile(
    r'\s*(?:(AND)\s+)?([A-Za-z][A-Za-z0-9_]{0,63})\s*=\s*("(?:[^"\\]|\\["\\])*"|-?[0-9][0-9.eE+-]*|true|false)\s*'
)


class Type(enum.StrEnum):
    """What a value of an attribute is."""

    STRING = "STRING"
    NUMBER = "NUMBER"
    BOOLEAN = "BOOLEAN"
    LIST = "LIST"

    def has(self, value: object) -> bool:
        """True if the value is of this type."""
        return type(value) is _PLAIN[self]


_PLAIN: Final[Mapping[Type, type]] = {Type.STRING: str, Type.NUMBER: float, Type.BOOLEAN: bool, Type.LIST: list}


@dataclass(frozen=True, slots=True)
class Definition:
    """What a program says of one attribute."""

    name: str
    type: Type
    required: bool = False
    unique: bool = False
    personal_data: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """A program's definitions by name; `closed` refuses attributes that have none."""

    definitions: Mapping[str, Definition]
    closed: bool = False

    def check(self, sent: Attributes, stored: Attributes | None = None) -> None:
        """Raises INVALID_REQUEST that names the attribute, for what the definitions do not allow.

        Of a member that is there already (`stored`) only what is sent is judged: a definition binds what is written
        after it.
        """
        for name, value in sent.items():
            definition = self.definitions.get(name)
            if definition is None:
                if self.closed and value is not None:
                    raise invalid(**{f"attributes.{name}": "is not an attribute of this program"})
            elif value is None:
                if definition.required and stored is not None and name in stored:
                    raise invalid(**{f"attributes.{name}": "is required and cannot be removed"})
            elif not definition.type.has(value):
                raise invalid(**{f"attributes.{name}": f"must be a {definition.type.lower()}"})
        if stored is None:
            missing = (one for one in self.definitions.values() if one.required and sent.get(one.name) is None)
            for definition in missing:
                raise invalid(**{f"attributes.{definition.name}": "is required"})

    def unique(self, name: str) -> bool:
        """True if at most one member has a value of the attribute."""
        definition = self.definitions.get(name)
        return definition is not None and definition.unique


def check_definitions(definitions: Iterable[Definition]) -> dict[str, Definition]:
    """The definitions by name. Raises INVALID_REQUEST for a name that comes twice, and for a unique list."""
    by_name: dict[str, Definition] = {}
    for index, one in enumerate(definitions):
        if one.name in by_name:
            raise invalid(**{f"attributeDefinitions[{index}].name": "stands there twice"})
        if one.unique and one.type is Type.LIST:
            raise invalid(**{f"attributeDefinitions[{index}].unique": "is not for a list"})
        by_name[one.name] = one
    return by_name


def text(value: object) -> str | None:
    """A value as it is looked for, the same for the two ways in which Unicode may write it; None for a list."""
    match value:
        case list():
            return None
        case str():
            return unicodedata.normalize("NFC", value)
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return json.dumps(value)


def conditions(filter_: str, schema: Schema) -> list[tuple[str, str]]:
    """The names and values that a filter asks for. Raises INVALID_REQUEST.

    Only what is defined as no personal data: a filter stands in a URL, which is logged by all it passes (G51).
    """
    found: list[tuple[str, str]] = []
    place = 0 if filter_.strip() else len(filter_)
    while place < len(filter_):
        condition = _CONDITION.match(filter_, place)
        if condition is None or len(found) == FILTERS_MAX or bool(found) != bool(condition[1]):
            raise invalid(filter=f'must be at most {FILTERS_MAX} conditions like city = "Bonn", joined by AND')
        found.append(_condition(condition[2], condition[3], schema))
        place = condition.end()
    return found


def _condition(name: str, literal: str, schema: Schema) -> tuple[str, str]:
    definition = schema.definitions.get(name)
    if definition is None or definition.personal_data or definition.type is Type.LIST:
        raise invalid(filter=f"{name} is not an attribute that is defined, single, and no personal data")
    try:
        value: Any = json.loads(literal)
        value = float(value) if type(value) is int else value
        wanted = text(value)
    except (ValueError, OverflowError):
        value, wanted = None, None
    if wanted is None or value in (math.inf, -math.inf) or not definition.type.has(value):
        raise invalid(filter=f"{name} is compared with something that is no {definition.type.lower()}")
    return name, wanted
