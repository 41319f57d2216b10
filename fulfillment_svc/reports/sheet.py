"""A report as CSV: RFC 4180, and no cell that a spreadsheet would take for a formula (OWASP, CSV injection). Pure."""

import csv
import io
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from rewards.fulfillment.v1.reports_pb2 import ReportTotal

CONTENT_TYPE: Final = "text/csv"
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def header(row: Descriptor) -> bytes:
    """The names of a row's columns, as JSON has them."""
    return _lines([[field.json_name for field in row.fields]])


def lines(rows: Iterable[Message]) -> bytes:
    """A line for each row."""
    return _lines([[_cell(field, getattr(row, field.name)) for field in row.DESCRIPTOR.fields] for row in rows])


def totals(found: Iterable[ReportTotal], row: Descriptor) -> bytes:
    """The last lines, as wide as the others: TOTAL, a name, an asset, our sum, the ledger's, the difference."""
    cells = [["TOTAL", t.name, t.asset, *map(_number, (t.report, t.ledger, t.difference))] for t in found]
    return _lines([[*line, *[""] * (len(row.fields) - len(line))] for line in cells])


def neutral(text: str) -> str:
    """The text, with an apostrophe before what a spreadsheet would compute."""
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _cell(field: Any, value: Any) -> str:
    if field.message_type is not None:
        return str(value.ToJsonString())
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    return neutral(value) if isinstance(value, str) else _number(value)


def _number(value: float) -> str:
    return f"{Decimal(repr(value)):f}"


def _lines(cells: Iterable[Iterable[str]]) -> bytes:
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\r\n").writerows(cells)
    return written.getvalue().encode()
