"""What the ledger's RPCs are made with."""

from dataclasses import dataclass
from datetime import datetime

from ledger_svc.tables import programs
from svckit import call
from svckit.clock import Clock
from svckit.db import Database, Tx
from svckit.idempotency import Idempotency
from svckit.programs import Program


@dataclass(frozen=True)
class Rpcs:
    """The parts of a group of RPCs: the database, the keys, and the clock."""

    db: Database
    idempotency: Idempotency
    clock: Clock

    async def program(self, tx: Tx) -> tuple[Program, datetime]:
        """The caller's program and its time. Raises PERMISSION_DENIED for callers of no program."""
        program = await programs.get(tx, call.current().program_id)
        return program, program.now(self.clock)
