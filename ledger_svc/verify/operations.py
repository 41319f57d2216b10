"""Which operations answer with a transaction, a hold or a batch, read off the protos. Pure."""

import pkgutil
from importlib import import_module
from typing import Final

from rewards.ledger import v1

_NAMES: Final = {"transaction_id", "reversal_id", "hold_id", "batch_id"}


def naming() -> dict[str, str]:
    """Each operation whose answer begins with the id of what it did, and that field's name."""
    files = [import_module(f"{v1.__name__}.{m.name}") for m in pkgutil.iter_modules(v1.__path__)]
    return {
        rpc.name: field.name
        for file in files
        if hasattr(file, "DESCRIPTOR")
        for service in file.DESCRIPTOR.services_by_name.values()
        for rpc in service.methods
        for field in rpc.output_type.fields
        if field.number == 1 and field.name in _NAMES
    }
