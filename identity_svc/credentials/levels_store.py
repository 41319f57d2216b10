"""Every statement about the levels at which access can be revoked: programs, partners, credentials."""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import ColumnElement, Table, func, null, select, update
from sqlalchemy.dialects.postgresql import insert

from identity_svc import tables
from identity_svc.credentials.rules import Level, Partner
from svckit.db import Tx
from svckit.errors import Reason, Refused

_programs, _partners, _credentials = tables.programs.c, tables.partners.c, tables.credentials.c


async def hold(tx: Tx, program_id: str, partner_id: str | None = None) -> str:
    """The program's mode. Neither the program nor the partner can be revoked until the transaction ends.

    Raises NOT_FOUND if one of them is unknown, CONFLICT if one is revoked: what is made below it would be refused.
    """
    mode: str | None = None
    for level in (Level(program_id), *([Level(program_id, partner_id)] if partner_id else [])):
        table, where = _rows(level)
        query = select(table).where(*where).with_for_update(read=True)
        row = (await tx.execute(query)).mappings().one_or_none()
        if row is None:
            raise Refused(Reason.NOT_FOUND, f"There is no such {level.kind}.")
        if row["revoked_at"] is not None:
            raise Refused(Reason.CONFLICT, f"The {level.kind} is revoked.")
        mode = mode or row["mode"]
    return mode or ""


async def put_partner(tx: Tx, partner: Partner) -> bool:
    """Stores a partner; False if it was stored just so. Its revocation stays as it is."""
    statement = insert(tables.partners).values(asdict(partner))
    differs = _partners.name.is_distinct_from(statement.excluded.name)
    statement = statement.on_conflict_do_update(
        index_elements=["program_id", "partner_id"], set_={"name": partner.name}, where=differs
    )
    return (await tx.execute(statement)).rowcount == 1


async def partner(tx: Tx, program_id: str, partner_id: str) -> Partner:
    """A partner that exists."""
    query = select(tables.partners).where(_partners.program_id == program_id, _partners.partner_id == partner_id)
    return Partner(**(await tx.execute(query)).mappings().one())


async def lock(tx: Tx, level: Level) -> datetime | None:
    """When the level was revoked, None if it is not. It stays so until the transaction ends. Raises NOT_FOUND."""
    table, where = _rows(level)
    row = (await tx.execute(select(table.c.revoked_at).where(*where).with_for_update())).one_or_none()
    if row is None:
        raise Refused(Reason.NOT_FOUND, f"There is no such {level.kind}.")
    revoked_at: datetime | None = row.revoked_at
    return revoked_at


async def revoke(tx: Tx, level: Level) -> datetime:
    """Revokes a locked level, and moves every credential below it to a new epoch, also what still overlaps: should
    the level be restored, no token comes back with it."""
    below = [_credentials.program_id == level.program_id]
    if level.partner_id:
        below.append(_credentials.partner_id == level.partner_id)
    if level.credential_id:
        below.append(_credentials.credential_id == level.credential_id)
    # In the order in which `store.touch` takes them, so that the two cannot wait for each other.
    await tx.execute(
        select(_credentials.credential_id).where(*below).order_by(_credentials.credential_id).with_for_update()
    )
    ended = {"epoch": _credentials.epoch + 1, "previous_mac": null(), "previous_until": null()}
    await tx.execute(update(tables.credentials).where(*below).values(ended))
    table, where = _rows(level)
    result = await tx.execute(update(table).where(*where).values(revoked_at=func.now()).returning(table.c.revoked_at))
    revoked_at: datetime = result.scalar_one()
    return revoked_at


async def restore(tx: Tx, level: Level) -> None:
    """Takes back the revocation of a locked level."""
    table, where = _rows(level)
    await tx.execute(update(table).where(*where).values(revoked_at=None))


def _rows(level: Level) -> tuple[Table, list[ColumnElement[bool]]]:
    match level.kind:
        case "program":
            return tables.programs, [_programs.program_id == level.program_id]
        case "partner":
            own = _partners.partner_id == level.partner_id
            return tables.partners, [_partners.program_id == level.program_id, own]
        case _:
            own = _credentials.credential_id == level.credential_id
            return tables.credentials, [_credentials.program_id == level.program_id, own]
