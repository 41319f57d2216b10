"""What the ledger's RPCs are made with."""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from google.protobuf.message import Message

from ledger_svc.journal.engine import Item, Journal
from ledger_svc.journal.requests import Asked
from ledger_svc.tables import programs
from svckit import call
from svckit.clock import Clock
from svckit.db import Database
from svckit.idempotency import Idempotency
from svckit.programs import Program

Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True)
class Rpcs:
    """The parts of a group of RPCs: the database, the journal, the keys, and the clock."""

    db: Database
    journal: Journal
    idempotency: Idempotency
    clock: Clock

    async def program(self, program_id: str = "") -> tuple[Program, datetime]:
        """A program, the caller's if none is named, and its time. Raises PERMISSION_DENIED, NOT_FOUND."""
        program = await programs.read(self.db, program_id or call.current().program_id)
        return program, program.now(self.clock)

    async def post(self, request: Message, program: Program, asked: Asked[Response]) -> Response:
        """Posts for the current call, under its key if it has one. Raises what Journal.post does."""
        claim = self.idempotency.claim(request) if call.current().idempotency_key is not None else None
        return await self.journal.post(program.program_id, Item(asked.posting, claim, asked.reply), asked.response)
