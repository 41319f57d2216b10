"""Every statement about one-time codes, what is left to try, letters and passwords."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import case, delete, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from identity_svc.signin import tables
from identity_svc.signin.rules import GUESSES, SENDS, TRIES_MAX, Allowance, Code
from svckit.db import Tx

_otps, _letters = tables.otps.c, tables.otp_letters.c
_spent, _passwords = tables.signin_spent.c, tables.passwords.c
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
# For a lock that no time ends.
_LONG: Final = _DAY


class Letter(NamedTuple):
    """A code that is to be sent, sealed."""

    program_id: str
    otp_id: UUID
    sealed: bytes
    expires_at: datetime


async def spend(tx: Tx, program_id: str, allowance: Allowance, subject: str, at: datetime) -> int | None:
    """Counts one more for the subject, in one statement; or, if all is spent, gives the seconds until there is more."""
    new_hour, new_day = _spent.hour_at <= at - _HOUR, _spent.day_at <= at - _DAY
    one = {"hour_at": at, "hour_count": 1, "day_at": at, "day_count": 1, "in_a_row": 1}
    more = {
        "hour_at": case((new_hour, literal(at)), else_=_spent.hour_at),
        "hour_count": case((new_hour, 1), else_=_spent.hour_count + 1),
        "day_at": case((new_day, literal(at)), else_=_spent.day_at),
        "day_count": case((new_day, 1), else_=_spent.day_count + 1),
        "in_a_row": _spent.in_a_row + 1,
    }
    left = (new_hour | (_spent.hour_count < allowance.per_hour)) & (new_day | (_spent.day_count < allowance.per_day))
    if allowance.in_a_row:
        left &= _spent.in_a_row < allowance.in_a_row
    name = {"program_id": program_id, "kind": allowance.kind, "subject": subject}
    statement = upsert(tables.signin_spent).values(name | one)
    counted = statement.on_conflict_do_update(index_elements=list(name), set_=more, where=left)
    if (await tx.execute(counted)).rowcount == 1:
        return None
    row = (await tx.execute(select(tables.signin_spent).filter_by(**name))).one()
    if allowance.in_a_row and row.in_a_row >= allowance.in_a_row:
        return int(_LONG.total_seconds())
    ends = [row.hour_at + _HOUR] if row.hour_count >= allowance.per_hour else []
    ends += [row.day_at + _DAY] if row.day_count >= allowance.per_day else []
    return max(1, math.ceil((max(ends, default=at) - at).total_seconds()))


async def forgive(tx: Tx, program_id: str, kinds: Sequence[str], subject: str) -> None:
    """Forgets what was spent on a subject."""
    this_one = (_spent.program_id == program_id, _spent.kind.in_(kinds), _spent.subject == subject)
    await tx.execute(delete(tables.signin_spent).where(*this_one))


async def add(tx: Tx, code: Code, letter: bytes) -> None:
    """Adds a code and the letter that brings it."""
    row = {
        "program_id": code.program_id,
        "otp_id": code.otp_id,
        "member_id": code.member_id,
        "code_mac": code.code_mac,
        "void": code.void,
        "expires_at": code.expires_at,
        "tries": 0,
    }
    await tx.execute(insert(tables.otps).values(row))
    names = ("program_id", "otp_id", "expires_at", "member_id")
    await tx.execute(insert(tables.otp_letters).values({name: row[name] for name in names} | {"sealed": letter}))


async def count_try(tx: Tx, program_id: str, otp_id: UUID) -> tuple[Code | None, int]:
    """Counts a try of a code that is not used, in one statement; the code, and how many tries it had with this one.

    No code if there is none to try; 0 tries if it had all it may have.
    """
    this_one = (_otps.program_id == program_id, _otps.otp_id == otp_id, _otps.used_at.is_(None))
    counted = update(tables.otps).where(*this_one, _otps.tries < TRIES_MAX).values(tries=_otps.tries + 1)
    row = (await tx.execute(counted.returning(*tables.otps.c))).one_or_none()
    tries = 0 if row is None else row.tries
    if row is None:
        row = (await tx.execute(select(tables.otps).where(*this_one))).one_or_none()
    if row is None:
        return None, 0
    return Code(row.program_id, row.otp_id, row.member_id, row.code_mac, row.void, row.expires_at), tries


async def use(tx: Tx, code: Code, at: datetime) -> None:
    """Uses up a code that this transaction has counted a try of."""
    this_one = (_otps.program_id == code.program_id, _otps.otp_id == code.otp_id)
    await tx.execute(update(tables.otps).where(*this_one).values(used_at=at))


async def letters(tx: Tx, limit: int) -> list[Letter]:
    """Some letters that are to be sent, the oldest first."""
    columns = (_letters.program_id, _letters.otp_id, _letters.sealed, _letters.expires_at)
    return [Letter(*row) for row in await tx.execute(select(*columns).order_by(_letters.expires_at).limit(limit))]


async def sent(tx: Tx, letter: Letter) -> None:
    """Forgets a letter."""
    this_one = (_letters.program_id == letter.program_id, _letters.otp_id == letter.otp_id)
    await tx.execute(delete(tables.otp_letters).where(*this_one))


async def sweep(tx: Tx) -> int:
    """Deletes codes that have run out long ago, and counts that nobody needs; how many codes there were."""
    old = func.now() - timedelta(days=30)
    # Who failed too often stays locked.
    needed = (_spent.kind != SENDS.kind) & (_spent.in_a_row >= GUESSES.in_a_row)
    await tx.execute(delete(tables.signin_spent).where(_spent.day_at < old, ~needed))
    return (await tx.execute(delete(tables.otps).where(_otps.expires_at < old))).rowcount


async def set_password(tx: Tx, program_id: str, member_id: str, sealed_hash: bytes) -> None:
    """Stores a member's password."""
    row = {"program_id": program_id, "member_id": member_id, "sealed_hash": sealed_hash}
    stored = upsert(tables.passwords).values(row)
    await tx.execute(stored.on_conflict_do_update(index_elements=["program_id", "member_id"], set_=row))


async def password(tx: Tx, program_id: str, member_id: str) -> bytes | None:
    """A member's password as it is stored."""
    this_one = (_passwords.program_id == program_id, _passwords.member_id == member_id)
    found: bytes | None = await tx.scalar(select(_passwords.sealed_hash).where(*this_one))
    return found
