"""The tables that all rooms share; each room's own stand in its own `tables.py`, on the same metadata."""

from typing import Final

from sqlalchemy import MetaData

from svckit import idempotency
from svckit.programs import Programs

metadata: Final = MetaData()
keys: Final = idempotency.table(metadata)
programs: Final = Programs(metadata)
