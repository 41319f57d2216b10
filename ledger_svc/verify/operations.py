"""Which operations answer with a transaction or a hold, read off the protos. Pure."""

from typing import Final

from google.protobuf.descriptor import FieldDescriptor
from rewards.ledger.v1 import funding_pb2, journal_pb2, points_pb2

_NAMES: Final = {"transaction_id", "reversal_id", "hold_id"}


def naming() -> dict[str, str]:
    """Each operation whose answer begins with the id of what it did, and that field's name."""
    return {
        rpc.name: first.name
        for file in (points_pb2, journal_pb2, funding_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for rpc in service.methods
        if (first := _first_field(rpc.output_type.fields)) is not None and first.name in _NAMES
    }


def _first_field(fields: list[FieldDescriptor]) -> FieldDescriptor | None:
    return next((field for field in fields if field.number == 1), None)
