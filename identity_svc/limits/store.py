"""Every statement about daily quotas."""

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from identity_svc.limits.rules import Account
from identity_svc.limits.tables import quotas
from identity_svc.tables import credentials
from svckit.db import Tx
from svckit.errors import Reason, Refused

_quotas, _credentials = quotas.c, credentials.c


async def lock(tx: Tx, credential_id: str) -> Account:
    """What was handed out of a credential's quota. Nobody else hands out until the transaction ends.

    Raises NOT_FOUND if there is no such credential.
    """
    program_id = await tx.scalar(select(_credentials.program_id).where(_credentials.credential_id == credential_id))
    if program_id is None:
        raise Refused(Reason.NOT_FOUND, "There is no such credential.")
    fresh = {"program_id": program_id, "credential_id": credential_id, "day": func.current_date(), "leased": 0}
    await tx.execute(insert(quotas).values(fresh).on_conflict_do_nothing())
    query = select(quotas, func.now().label("now")).where(
        _quotas.program_id == program_id, _quotas.credential_id == credential_id
    )
    return Account(**(await tx.execute(query.with_for_update())).mappings().one())


async def keep(tx: Tx, account: Account) -> None:
    """Stores what was handed out of a locked account."""
    where = (_quotas.program_id == account.program_id, _quotas.credential_id == account.credential_id)
    await tx.execute(update(quotas).where(*where).values(day=account.day, leased=account.leased))
