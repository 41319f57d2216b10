"""Every SQL statement about compliance. What a recipient has got is read only under the lock of its row."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from fulfillment_svc.compliance import Effect, Subject, Verdict
from fulfillment_svc.compliance.tables import checks, recipients
from svckit.db import Tx

_C = checks.c


async def lock(tx: Tx, program_id: str, recipient: bytes) -> None:
    """Makes everybody who decides about this recipient wait until this transaction ends."""
    of = {"program_id": program_id, "recipient": recipient}
    await tx.execute(upsert(recipients).values(of).on_conflict_do_nothing())
    await tx.execute(select(recipients.c.recipient).filter_by(**of).with_for_update())


async def find(tx: Tx, program_id: str, check_id: UUID) -> Verdict | None:
    """What a check has come to; None if it is a new one."""
    kept = select(_C.effect, _C.reason).where(_C.program_id == program_id, _C.check_id == check_id)
    row = (await tx.execute(kept)).one_or_none()
    return None if row is None else Verdict(Effect(row.effect), row.reason)


async def spent(tx: Tx, subject: Subject, recipient: bytes, days: Iterable[int], now: datetime) -> Mapping[int, int]:
    """What counts of the recipient's checks in the subject's currency, in each of so many days until now."""
    since = {count: func.sum(_C.value_minor).filter(_C.at > now - timedelta(days=count)) for count in days}
    if not since:
        return {}
    mine = _C.program_id == subject.program_id, _C.recipient == recipient, _C.currency == subject.currency
    longest = _C.at > now - timedelta(days=max(since))
    row = (await tx.execute(select(*since.values()).where(*mine, longest))).one()
    return {count: int(total or 0) for count, total in zip(since, row, strict=True)}


async def insert_check(tx: Tx, subject: Subject, recipient: bytes, verdict: Verdict, at: datetime) -> None:
    """Keeps a check and what it came to."""
    row = {
        "program_id": subject.program_id,
        "check_id": subject.check_id,
        "recipient": recipient,
        "country": subject.country,
        "currency": subject.currency,
        "value_minor": 0 if verdict.effect is Effect.REFUSE else subject.value_minor,
        "effect": verdict.effect,
        "reason": verdict.reason,
        "at": at,
    }
    await tx.execute(insert(checks).values(row))


async def count(tx: Tx, program_id: str, check_id: UUID, value_minor: int) -> None:
    """Says how much the recipient has got in the end; without a check there is nothing that counts."""
    named = _C.program_id == program_id, _C.check_id == check_id
    await tx.execute(update(checks).where(*named).values(value_minor=value_minor))
