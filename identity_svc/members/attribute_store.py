"""Every statement about attributes' definitions, and about the index by which members are found by attributes."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from rewards.identity.v1.programs_pb2 import Policy
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from identity_svc import tables
from identity_svc.members import tables as member_tables
from identity_svc.members.schema import Definition, Schema, Type
from svckit.db import Tx
from svckit.errors import Reason, Refused

_definitions, _values, _programs = (
    member_tables.attribute_definitions.c,
    member_tables.member_attributes.c,
    tables.programs.c,
)


class Indexed(NamedTuple):
    """A value by which a member is found: its HMAC under the program's key."""

    name: str
    value_mac: bytes
    unique: bool = False


async def schema(tx: Tx, program_id: str) -> Schema:
    """The program's definitions, which nobody changes until the transaction ends. Raises NOT_FOUND."""
    return await _schema(tx, program_id, exclusive=False)


async def lock_schema(tx: Tx, program_id: str) -> Schema:
    """As `schema`, once no other transaction writes attributes by it."""
    return await _schema(tx, program_id, exclusive=True)


async def _schema(tx: Tx, program_id: str, *, exclusive: bool) -> Schema:
    # The program's row stands for all its definitions, those to come as well. A key share lock is the one that
    # neither keeps its other readers waiting nor an operator who changes the program's settings.
    query = select(_programs.policy).where(_programs.program_id == program_id)
    policy = await tx.scalar(query.with_for_update(key_share=not exclusive, read=not exclusive))
    if policy is None:
        raise Refused(Reason.NOT_FOUND, "There is no such program.")
    columns = [column for column in member_tables.attribute_definitions.c if column.name != "program_id"]
    rows = await tx.execute(select(*columns).where(_definitions.program_id == program_id).order_by(_definitions.name))
    found = [Definition(row.name, Type(row.type), row.required, row.unique, row.personal_data) for row in rows]
    return Schema({one.name: one for one in found}, closed=Policy.FromString(policy).refuse_unknown_attributes)


async def replace_definitions(tx: Tx, program_id: str, definitions: Iterable[Definition]) -> None:
    """Writes the definitions of a locked schema."""
    await tx.execute(delete(member_tables.attribute_definitions).where(_definitions.program_id == program_id))
    rows = [
        {
            "program_id": program_id,
            "name": one.name,
            "type": one.type,
            "required": one.required,
            "unique": one.unique,
            "personal_data": one.personal_data,
        }
        for one in definitions
    ]
    if rows:
        await tx.execute(insert(member_tables.attribute_definitions).values(rows))


async def set_unique(tx: Tx, program_id: str, name: str, *, unique: bool) -> bool:
    """Makes an attribute of a locked schema unique or not; False if two members share a value of it."""
    of_name = (_values.program_id == program_id, _values.name == name)
    if unique:
        shared = select(_values.value_mac).where(*of_name).group_by(_values.value_mac).having(func.count() > 1)
        if await tx.scalar(shared.limit(1)) is not None:
            return False
    await tx.execute(update(member_tables.member_attributes).where(*of_name).values(unique=unique))
    return True


async def index(tx: Tx, program_id: str, member_id: str, values: Sequence[Indexed]) -> bool:
    """Makes a member findable by values; False if a unique one is another member's.

    Waits for a rival that has not committed. Rows go in in one order, so that two rivals rarely wait for each other.
    """
    if not values:
        return True
    rows = [{"program_id": program_id, "member_id": member_id, **one._asdict()} for one in sorted(values)]
    statement = insert(member_tables.member_attributes).values(rows).on_conflict_do_nothing()
    return (await tx.execute(statement)).rowcount == len(rows)


async def forget(tx: Tx, program_id: str, member_id: str, names: Collection[str]) -> None:
    """Makes a member no longer findable by attributes."""
    if names:
        await tx.execute(
            delete(member_tables.member_attributes).where(
                _values.program_id == program_id, _values.member_id == member_id, _values.name.in_(names)
            )
        )


async def find(tx: Tx, program_id: str, value: Indexed) -> str | None:
    """The member that has the value of a unique attribute."""
    found: str | None = await tx.scalar(
        select(_values.member_id).where(
            _values.program_id == program_id, _values.name == value.name, _values.value_mac == value.value_mac
        )
    )
    return found
