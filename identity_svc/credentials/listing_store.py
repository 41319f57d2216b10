"""Every statement that lists plans, partners and credentials. `after` is the id at which the last page ended."""

from typing import Any

from sqlalchemy import ColumnElement, Row, select

from identity_svc import tables
from identity_svc.credentials.rules import Partner, Plan
from svckit.db import Tx

_plans, _partners, _credentials = tables.plans.c, tables.partners.c, tables.credentials.c


async def plans(tx: Tx, after: str, limit: int) -> list[Plan]:
    """Plans, by id."""
    query = select(tables.plans).where(_plans.plan_id > after).order_by(_plans.plan_id).limit(limit)
    return [Plan(**row) for row in (await tx.execute(query)).mappings()]


async def partners(tx: Tx, program_id: str, after: str, limit: int) -> list[Partner]:
    """A program's partners, by id."""
    query = select(tables.partners).where(_partners.program_id == program_id, _partners.partner_id > after)
    query = query.order_by(_partners.partner_id).limit(limit)
    return [Partner(**row) for row in (await tx.execute(query)).mappings()]


async def credentials(tx: Tx, program_id: str, partner_id: str | None, after: str, limit: int) -> list[Row[Any]]:
    """Credentials of a program, or of one partner of it, by id. Nothing here tells a secret."""
    where: list[ColumnElement[bool]] = [_credentials.program_id == program_id, _credentials.credential_id > after]
    if partner_id is not None:
        where.append(_credentials.partner_id == partner_id)
    shown = (column for column in _credentials if column.name not in {"secret_mac", "previous_mac"})
    query = select(*shown).where(*where).order_by(_credentials.credential_id).limit(limit)
    return list(await tx.execute(query))
