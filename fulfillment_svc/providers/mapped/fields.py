"""Reads tables of a configuration file: each fault stops the start and names the field. Nothing is ignored."""

import re
from typing import NoReturn, Self


class Fields:
    """The fields of a table that stands at `where`. Each is taken once, and none may be left at the end."""

    def __init__(self, where: str, found: object) -> None:
        self.where = where
        self._left = dict(found) if isinstance(found, dict) else self.wrong("", "must be a table")

    def wrong(self, name: str, text: str) -> NoReturn:
        """Stops the start. Raises SystemExit that names the field."""
        raise SystemExit(f"{'.'.join(filter(None, (self.where, name)))} {text}")

    def end(self) -> None:
        """Stops the start if a field is left."""
        for name in sorted(self._left):
            self.wrong(name, "is not known here")

    def has(self, name: str) -> bool:
        """True if the field is there and was not taken yet."""
        return name in self._left

    def value(self, name: str) -> object:
        """The field, whatever it is."""
        return self._left.pop(name) if name in self._left else self.wrong(name, "is missing")

    def text(self, name: str, pattern: str = r"(?s).+") -> str:
        """A text that the whole pattern fits."""
        found = self.value(name)
        if not isinstance(found, str) or not re.fullmatch(pattern, found):
            self.wrong(name, f"must be a text like {pattern}")
        return found

    def texts(self, name: str, pattern: str = r"(?s).+") -> frozenset[str]:
        """A list of texts that the pattern fits; empty where the field is not there."""
        found = self._left.pop(name, [])
        if not isinstance(found, list) or not all(isinstance(one, str) and re.fullmatch(pattern, one) for one in found):
            self.wrong(name, f"must be a list of texts like {pattern}")
        return frozenset(found)

    def number(self, name: str, least: float, most: float, default: float | None = None) -> float:
        """A number from `least` to `most`."""
        found = self._left.pop(name, default) if default is not None else self.value(name)
        if isinstance(found, bool) or not isinstance(found, int | float) or not least <= found <= most:
            self.wrong(name, f"must be a number from {least:g} to {most:g}")
        return float(found)

    def flag(self, name: str) -> bool:
        """True or false."""
        found = self.value(name)
        return found if isinstance(found, bool) else self.wrong(name, "must be true or false")

    def table(self, name: str) -> Self:
        """A table; an empty one where the field is not there."""
        return type(self)(f"{self.where}.{name}", self._left.pop(name, {}))

    def tables(self, name: str) -> list[Self]:
        """A list of tables, at least one."""
        found = self.value(name)
        if not isinstance(found, list) or not found:
            self.wrong(name, "must be a list of tables, one at least")
        return [type(self)(f"{self.where}.{name}[{place}]", one) for place, one in enumerate(found)]

    def names(self) -> list[str]:
        """The names of the fields that are left, in their order; for a table whose names are its own."""
        return sorted(self._left)
