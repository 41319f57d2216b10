"""Countries by the names that people know them by: ISO 3166-1 as the time zone database has it."""

from importlib.resources import files
from typing import Final, NamedTuple


class Country(NamedTuple):
    """A country by its alpha-2 code."""

    code: str
    name: str


def _read() -> list[Country]:
    lines = (files("tzdata") / "zoneinfo" / "iso3166.tab").read_text(encoding="utf-8").splitlines()
    found = (line.split("\t") for line in lines if line and not line.startswith("#"))
    return sorted((Country(code, name) for code, name in found), key=lambda country: country.name)


COUNTRIES: Final = _read()
NAMES: Final = dict(COUNTRIES)
