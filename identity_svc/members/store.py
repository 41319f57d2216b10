"""Every statement about members, their keys and their relations. Whatever is personal comes and goes sealed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from identity_svc import tables
from identity_svc.members import tables as member_tables
from identity_svc.members.attribute_store import Indexed
from identity_svc.members.rules import Status
from svckit.clock import new_id
from svckit.db import Tx
from svckit.errors import Reason, Refused

_members, _keys, _relations = tables.members.c, tables.member_keys.c, tables.relations.c
_values = member_tables.member_attributes.c
LEFTOVERS: Final = 100


@dataclass(frozen=True, slots=True)
class Record:
    """A member as it is stored. The ledger must know the member as of `standing_version` and knows it as of
    `synced_version`. `alias_of` is whom it was merged into."""

    program_id: str
    member_id: str
    status: Status
    version: int
    standing_version: int
    synced_version: int
    attributes: bytes
    created_at: datetime
    wrapped_key: bytes
    alias_of: str | None = None


@dataclass(frozen=True, slots=True)
class SealedRelation:
    """A relation as it is stored."""

    type: str
    value_mac: bytes
    sealed_value: bytes


async def add(tx: Tx, record: Record) -> bool:
    """Adds a member and its key; False if the id is taken. Waits for a twin that has not committed."""
    owner = {"program_id": record.program_id, "member_id": record.member_id}
    values = {
        **owner,
        "status": record.status,
        "version": record.version,
        "standing_version": record.standing_version,
        "synced_version": record.synced_version,
        "attributes": record.attributes,
        "created_at": record.created_at,
    }
    if (await tx.execute(insert(tables.members).values(values).on_conflict_do_nothing())).rowcount == 0:
        return False
    await tx.execute(insert(tables.member_keys).values(**owner, wrapped_key=record.wrapped_key))
    return True


async def get(tx: Tx, program_id: str, member_id: str) -> Record:
    """The member, or whom it was merged into. Raises MEMBER_NOT_FOUND; a member whose key is gone is gone."""
    record = await get_itself(tx, program_id, member_id)
    while record.alias_of is not None:
        record = await get_itself(tx, program_id, record.alias_of)
    return record


async def get_itself(tx: Tx, program_id: str, member_id: str) -> Record:
    """The member of that very id, also if it is an alias. Raises MEMBER_NOT_FOUND."""
    return await _one(tx, _query(program_id, member_id))


async def lock(tx: Tx, program_id: str, member_id: str) -> Record:
    """As `get`; nobody else changes the member until the transaction ends."""
    record = await lock_itself(tx, program_id, (await get(tx, program_id, member_id)).member_id)
    # Merged between the look and the lock.
    return record if record.alias_of is None else await lock(tx, program_id, record.alias_of)


async def lock_itself(tx: Tx, program_id: str, member_id: str) -> Record:
    """As `get_itself`; nobody else changes the member until the transaction ends."""
    return await _one(tx, _query(program_id, member_id).with_for_update(of=tables.members))


async def replace(tx: Tx, record: Record) -> None:
    """Writes what may change of a locked member."""
    await tx.execute(
        update(tables.members)
        .where(_members.program_id == record.program_id, _members.member_id == record.member_id)
        .values(
            status=record.status,
            version=record.version,
            standing_version=record.standing_version,
            attributes=record.attributes,
            alias_of=record.alias_of,
        )
    )


async def page(tx: Tx, program_id: str, values: Sequence[Indexed], after: str, limit: int) -> list[Record]:
    """Members that have all of the values, in order of their ids."""
    itself = _members.alias_of.is_(None)
    query = _select().where(_members.program_id == program_id, _members.member_id > after, itself)
    for value in values:
        has = select(_values.member_id).where(
            _values.program_id == program_id,
            _values.name == value.name,
            _values.value_mac == value.value_mac,
            _values.member_id == _members.member_id,
        )
        query = query.where(has.exists())
    return [_record(row) for row in await tx.execute(query.order_by(_members.member_id).limit(limit))]


async def relations_of(tx: Tx, program_id: str, member_ids: Collection[str]) -> dict[str, list[SealedRelation]]:
    """All relations of members."""
    rows = await tx.execute(
        select(_relations.member_id, _relations.type, _relations.value_mac, _relations.sealed_value).where(
            _relations.program_id == program_id, _relations.member_id.in_(member_ids)
        )
    )
    found: dict[str, list[SealedRelation]] = {}
    for member_id, *relation in rows:
        found.setdefault(member_id, []).append(SealedRelation(*relation))
    return found


async def link(tx: Tx, record: Record, linked: Sequence[SealedRelation], at: datetime) -> int:
    """Links what belongs to nobody yet to the member; how many that were.

    Waits for a rival that has not committed. Rows go in in one order, so that two rivals cannot wait for
    each other.
    """
    if not linked:
        return 0
    rows = [
        {
            "program_id": record.program_id,
            "member_id": record.member_id,
            "type": one.type,
            "value_mac": one.value_mac,
            "sealed_value": one.sealed_value,
            "created_at": at,
        }
        for one in sorted(linked, key=lambda one: (one.type, one.value_mac))
    ]
    return (await tx.execute(insert(tables.relations).values(rows).on_conflict_do_nothing())).rowcount


async def unlink(tx: Tx, record: Record, relation: SealedRelation, at: datetime) -> bool:
    """Ends a relation of the member and keeps that it was; False if it has none such."""
    ended = (
        delete(tables.relations)
        .where(
            _relations.program_id == record.program_id,
            _relations.type == relation.type,
            _relations.value_mac == relation.value_mac,
            _relations.member_id == record.member_id,
        )
        .returning(_relations.type, _relations.sealed_value, _relations.created_at)
    )
    row = (await tx.execute(ended)).one_or_none()
    if row is None:
        return False
    past = {
        "program_id": record.program_id,
        "member_id": record.member_id,
        "past_relation_id": new_id(),
        "type": row.type,
        "sealed_value": row.sealed_value,
        "linked_at": row.created_at,
        "unlinked_at": at,
    }
    await tx.execute(insert(member_tables.past_relations).values(past))
    return True


async def owner(tx: Tx, program_id: str, relation: SealedRelation) -> str | None:
    """The member that a relation belongs to."""
    found: str | None = await tx.scalar(
        select(_relations.member_id).where(
            _relations.program_id == program_id,
            _relations.type == relation.type,
            _relations.value_mac == relation.value_mac,
        )
    )
    return found


async def itself_or_erased(tx: Tx, program_id: str, member_ids: Collection[str]) -> list[Record]:
    """The members of those very ids, also without a key."""
    query = _select(with_key=False).where(_members.program_id == program_id, _members.member_id.in_(member_ids))
    return [_record(row) for row in await tx.execute(query)]


async def not_synced(tx: Tx) -> list[Record]:
    """Some members that the ledger does not know as they are."""
    # Those without a key as well: the ledger must hear of an erasure.
    query = _select(with_key=False).where(_members.synced_version < _members.standing_version).limit(LEFTOVERS)
    return [_record(row) for row in await tx.execute(query)]


async def mark_synced(tx: Tx, record: Record) -> None:
    """Notes that the ledger knows the member as of the record's `standing_version`."""
    await tx.execute(
        update(tables.members)
        .where(_members.program_id == record.program_id, _members.member_id == record.member_id)
        .values(synced_version=func.greatest(_members.synced_version, record.standing_version))
    )


def _select(*, with_key: bool = True) -> Select[Any]:
    own = (_keys.program_id == _members.program_id) & (_keys.member_id == _members.member_id)
    return select(tables.members, _keys.wrapped_key).join(tables.member_keys, own, isouter=not with_key)


def _query(program_id: str, member_id: str) -> Select[Any]:
    return _select().where(_members.program_id == program_id, _members.member_id == member_id)


async def _one(tx: Tx, query: Select[Any]) -> Record:
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        raise Refused(Reason.MEMBER_NOT_FOUND, "There is no such member.")
    return _record(row)


def _record(row: Any) -> Record:
    return Record(
        program_id=row.program_id,
        member_id=row.member_id,
        status=Status(row.status),
        version=row.version,
        standing_version=row.standing_version,
        synced_version=row.synced_version,
        attributes=row.attributes,
        created_at=row.created_at,
        wrapped_key=row.wrapped_key or b"",
        alias_of=row.alias_of,
    )
