"""Every statement about programs."""

from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Select, select, update
from sqlalchemy.dialects.postgresql import insert

from identity_svc import tables
from identity_svc.programs.rules import Program
from svckit.db import Tx
from svckit.errors import Reason, Refused

_c = tables.programs.c
# A program's revocation is no setting of it: the credentials' statements read and write it.
_SETTINGS = tuple(_c[field.name] for field in fields(Program))


async def add(tx: Tx, program: Program) -> bool:
    """Adds a program; False if there is one of its id. Waits for a twin that has not committed."""
    result = await tx.execute(insert(tables.programs).values(asdict(program)).on_conflict_do_nothing())
    return result.rowcount == 1


async def get(tx: Tx, program_id: str) -> Program:
    """The program. Raises NOT_FOUND."""
    return await _one(tx, select(*_SETTINGS).where(_c.program_id == program_id))


async def page(tx: Tx, after: str, limit: int) -> list[Program]:
    """Programs whose ids come after `after`, by id."""
    query = select(*_SETTINGS).where(_c.program_id > after).order_by(_c.program_id).limit(limit)
    return [Program(**row) for row in (await tx.execute(query)).mappings()]


async def lock(tx: Tx, program_id: str) -> Program:
    """The program, which nobody else changes until the transaction ends. Raises NOT_FOUND."""
    return await _one(tx, select(*_SETTINGS).where(_c.program_id == program_id).with_for_update())


async def replace(tx: Tx, program: Program) -> None:
    """Writes a locked program's new settings."""
    await tx.execute(update(tables.programs).where(_c.program_id == program.program_id).values(asdict(program)))


async def _one(tx: Tx, query: Select[Any]) -> Program:
    row = (await tx.execute(query)).mappings().one_or_none()
    if row is None:
        raise Refused(Reason.NOT_FOUND, "There is no such program.")
    return Program(**row)
