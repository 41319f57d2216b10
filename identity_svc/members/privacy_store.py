"""Every statement about erasing and exporting members."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, delete, insert, literal, select, update

from identity_svc import tables
from identity_svc.members import tables as member_tables
from identity_svc.members.rules import Status
from identity_svc.signin import tables as signin_tables
from svckit.db import Tx

_members, _past, _erasures = tables.members.c, member_tables.past_relations.c, member_tables.erasures.c
# All that is kept of a member beside its row, which only says that the id is taken. The key comes last.
_OF_A_MEMBER = (
    tables.relations,
    member_tables.past_relations,
    member_tables.member_attributes,
    signin_tables.passwords,
    signin_tables.otps,
    signin_tables.otp_letters,
    tables.member_keys,
)


class SealedPast(NamedTuple):
    """A relation that has ended, as it is stored."""

    type: str
    sealed_value: bytes
    linked_at: datetime
    unlinked_at: datetime


async def aliases(tx: Tx, program_id: str, member_id: str) -> list[str]:
    """All members that were merged into a member, also by way of others, in order of their ids."""
    tree = select(literal(member_id).label("member_id")).cte(recursive=True)
    below = select(_members.member_id).join(
        tree, and_(_members.program_id == program_id, _members.alias_of == tree.c.member_id)
    )
    tree = tree.union(below)
    found = await tx.scalars(select(tree.c.member_id).where(tree.c.member_id != member_id).order_by(tree.c.member_id))
    return list(found)


async def past_relations(tx: Tx, program_id: str, member_id: str) -> list[SealedPast]:
    """The relations that a member had, in the order in which they ended."""
    rows = await tx.execute(
        select(_past.type, _past.sealed_value, _past.linked_at, _past.unlinked_at)
        .where(_past.program_id == program_id, _past.member_id == member_id)
        .order_by(_past.unlinked_at, _past.past_relation_id)
    )
    return [SealedPast(*row) for row in rows]


async def erase(tx: Tx, program_id: str, member_ids: Collection[str]) -> None:
    """Deletes the keys of locked members, what lies under them and what finds them; only the ids stay."""
    for table in _OF_A_MEMBER:
        await tx.execute(delete(table).where(table.c.program_id == program_id, table.c.member_id.in_(member_ids)))
    gone = {
        "attributes": b"",
        "status": Status.CANCELLED,
        "version": _members.version + 1,
        "standing_version": _members.version + 1,
    }
    await tx.execute(
        update(tables.members).where(_members.program_id == program_id, _members.member_id.in_(member_ids)).values(gone)
    )


async def certify(tx: Tx, program_id: str, member_ids: Collection[str], certificate: bytes, at: datetime) -> None:
    """Keeps a certificate, under each of the ids that it is about."""
    shared = {"program_id": program_id, "certificate": certificate, "erased_at": at}
    await tx.execute(insert(member_tables.erasures).values([{**shared, "member_id": one} for one in member_ids]))


async def certificate(tx: Tx, program_id: str, member_id: str) -> bytes | None:
    """The certificate of a member that was erased."""
    this_one = (_erasures.program_id == program_id, _erasures.member_id == member_id)
    found: bytes | None = await tx.scalar(select(_erasures.certificate).where(*this_one))
    return found
