"""Every statement about merges, and about relations that move by them."""

from datetime import datetime

from sqlalchemy import insert, select, update

from identity_svc import tables
from identity_svc.members import tables as member_tables
from identity_svc.members.store import SealedRelation
from svckit.clock import new_id
from svckit.db import Tx

_merges, _relations = member_tables.merges.c, tables.relations.c


async def add(tx: Tx, program_id: str, survivor_id: str, merged_id: str, moved: bytes, at: datetime) -> None:
    """Notes a merge and what it moved."""
    row = {
        "program_id": program_id,
        "merge_id": new_id(),
        "survivor_id": survivor_id,
        "merged_id": merged_id,
        "moved": moved,
        "merged_at": at,
    }
    await tx.execute(insert(member_tables.merges).values(row))


async def moved(tx: Tx, program_id: str, merged_id: str) -> bytes:
    """What the merge that is in force for a merged member moved."""
    in_force = (_merges.program_id == program_id, _merges.merged_id == merged_id, _merges.undone_at.is_(None))
    found: bytes = (await tx.execute(select(_merges.moved).where(*in_force))).scalar_one()
    return found


async def undo(tx: Tx, program_id: str, merged_id: str, at: datetime) -> None:
    """Ends the merge that is in force for a merged member."""
    in_force = (_merges.program_id == program_id, _merges.merged_id == merged_id, _merges.undone_at.is_(None))
    await tx.execute(update(member_tables.merges).where(*in_force).values(undone_at=at))


async def move_relation(tx: Tx, program_id: str, owner_id: str, to_id: str, relation: SealedRelation) -> bool:
    """Gives a relation to another member, for whom it is sealed; False if it is not the owner's (any more)."""
    this_one = (
        _relations.program_id == program_id,
        _relations.type == relation.type,
        _relations.value_mac == relation.value_mac,
        _relations.member_id == owner_id,
    )
    to = {"member_id": to_id, "sealed_value": relation.sealed_value}
    return (await tx.execute(update(tables.relations).where(*this_one).values(to))).rowcount == 1
