"""Columns as PostgreSQL's binary arrays.

The driver's own dumper asks each element for its type, which costs a batch more than all else in it, and names an
array of integers by its largest, so that one statement would be prepared under many types.
"""

import re
import struct
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NULL: Final = b"\xff\xff\xff\xff"


class Array(NamedTuple):
    """A column as it travels. `oid` is the array's type."""

    oid: int
    data: bytes


def _bigints(values: Iterable[int | None]) -> Iterable[bytes]:
    pack = struct.Struct("!iq").pack
    return [_NULL if value is None else pack(8, value) for value in values]


def _smallints(values: Iterable[int]) -> Iterable[bytes]:
    pack = struct.Struct("!ih").pack
    return [pack(2, value) for value in values]


def _booleans(values: Iterable[bool]) -> Iterable[bytes]:
    return [b"\x00\x00\x00\x01" + bytes([value]) for value in values]


def _instants(values: Iterable[datetime | None]) -> Iterable[bytes]:
    return map(_instant, values)


@lru_cache(maxsize=1024)  # those of a batch are few
def _instant(value: datetime | None) -> bytes:
    return _NULL if value is None else struct.pack("!iq", 8, (value - _EPOCH) // _MICROSECOND)


def _texts(values: Iterable[str]) -> Iterable[bytes]:
    return _blobs([value.encode() for value in values])


def _blobs(values: Iterable[bytes]) -> Iterable[bytes]:
    pack = struct.Struct("!i").pack
    return [pack(len(value)) + value for value in values]


def _uuids(values: Iterable[Any]) -> Iterable[bytes]:
    return [_NULL if value is None else b"\x00\x00\x00\x10" + value.bytes for value in values]


# How the elements of a type travel, with its number and that of its array.
_TYPES: Final[dict[str, tuple[Callable[[Any], Iterable[bytes]], int, int]]] = {
    "bigint": (_bigints, 20, 1016),
    "smallint": (_smallints, 21, 1005),
    "boolean": (_booleans, 16, 1000),
    "timestamptz": (_instants, 1184, 1185),
    "text": (_texts, 25, 1009),
    "bytea": (_blobs, 17, 1001),
    "uuid": (_uuids, 2950, 2951),
}


def typed(statement: str, parameters: Iterable[Any]) -> list[Any]:
    """The parameters of a statement, its lists as arrays of the types that it casts them to."""
    types = iter(_types(statement))
    return [_array(next(types), given) if isinstance(given, list) else given for given in parameters]


@cache
def _types(statement: str) -> list[str]:
    return re.findall(r"%b::(\w+)\[\]", statement)


def _array(type_: str, values: Sequence[Any]) -> Array:
    pack, element, oid = _TYPES[type_]
    head = struct.pack("!iiiii", 1, 1, element, len(values), 1)
    return Array(oid, head + b"".join(pack(values)))


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def get_key(self, obj: Any, format: Any) -> Any:  # noqa: A002 - the driver's name
        return (Array, obj.oid)

    def upgrade(self, obj: Any, format: Any) -> Dumper:  # noqa: A002 - the driver's name
        made = _ArrayDumper(Array)
        made.oid = obj.oid
        return made

    def dump(self, obj: Any) -> bytes:
        return bytes(obj.data)


psycopg.adapters.register_dumper(Array, _ArrayDumper)
