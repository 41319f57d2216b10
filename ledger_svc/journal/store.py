"""The journal's SQL. Rows are locked in one order: an account, then what hangs on it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert

from ledger_svc.journal.account import Account
from ledger_svc.journal.values import Category, Entry, Key, Kind, Lot, Owner
from ledger_svc.tables import accounts, entries, holds, lots, members, reversals
from svckit.db import Tx
from svckit.errors import Reason, Refused


async def member_active(tx: Tx, program_id: str, member_id: str) -> bool:
    """Whether the member may earn and redeem. Raises MEMBER_NOT_FOUND."""
    active = await tx.scalar(
        select(members.c.active).where(members.c.program_id == program_id, members.c.member_id == member_id)
    )
    if active is None:
        raise Refused(Reason.MEMBER_NOT_FOUND, "There is no such member.")
    return bool(active)


async def store_member(tx: Tx, program_id: str, member_id: str, *, active: bool, version: int) -> None:
    """Stores what a member may do unless a later version is there."""
    row = {"program_id": program_id, "member_id": member_id, "active": active, "version": version}
    statement = upsert(members).values(row)
    newer = members.c.version < statement.excluded.version
    await tx.execute(statement.on_conflict_do_update(index_elements=["program_id", "member_id"], set_=row, where=newer))


async def read(tx: Tx, key: Key) -> Account:
    """The account as it is, unlocked; an empty one if it was never used."""
    row = await _account(tx, key)
    return Account(key, 0) if row is None else await _loaded(tx, key, row)


async def _account(tx: Tx, key: Key) -> Any:
    statement = select(accounts).where(
        accounts.c.program_id == key.program_id,
        accounts.c.owner_kind == key.owner_kind,
        accounts.c.owner == key.owner,
        accounts.c.asset == key.asset,
    )
    return (await tx.execute(statement)).one_or_none()


async def _loaded(tx: Tx, key: Key, row: Any, named_lots: Sequence[UUID] = ()) -> Account:
    account = Account(key, row.account_id, row.posted, row.held, row.version, row.last_at)
    if account.has_lots:
        wanted = or_(lots.c.open, lots.c.lot_id.in_(named_lots)) if named_lots else lots.c.open
        found = await tx.execute(
            select(lots)
            .where(and_(lots.c.program_id == key.program_id, lots.c.account_id == row.account_id, wanted))
            .order_by(lots.c.expires_at.nulls_last(), lots.c.earned_at, lots.c.lot_id)
        )
        account.lots = [Lot(x.lot_id, x.earned_at, x.expires_at, x.original, x.remaining) for x in found]
    return account


async def find_entry(tx: Tx, program_id: str, transaction_id: UUID) -> tuple[int, Entry] | None:
    """The account and the entry of a transaction of one account."""
    row = (
        await tx.execute(
            select(entries).where(entries.c.program_id == program_id, entries.c.transaction_id == transaction_id)
        )
    ).one_or_none()
    return None if row is None else (row.account_id, entry_of(row))


async def reversed_so_far(tx: Tx, program_id: str, transaction_id: UUID) -> int:
    """How much of a transaction has been reversed."""
    amount = await tx.scalar(
        select(reversals.c.reversed).where(
            reversals.c.program_id == program_id, reversals.c.transaction_id == transaction_id
        )
    )
    return int(amount or 0)


def entry_of(row: Any) -> Entry:
    """The entry that a row of `entries` holds."""
    values = {name: getattr(row, name) for name in Entry._fields}
    return Entry(**values | {"kind": Kind(row.kind), "category": Category(row.category)})


async def owner(tx: Tx, program_id: str, account_id: int) -> str:
    """Whose account it is: a member's id or a currency."""
    found = await tx.scalar(
        select(accounts.c.owner).where(accounts.c.program_id == program_id, accounts.c.account_id == account_id)
    )
    return str(found)


async def funding(tx: Tx, program_id: str) -> list[tuple[str, int, int]]:
    """Currency, posted and held of each funding account, in order of the currency."""
    found = await tx.execute(
        select(accounts.c.asset, accounts.c.posted, accounts.c.held)
        .where(accounts.c.program_id == program_id, accounts.c.owner_kind == Owner.FUNDING)
        .order_by(accounts.c.asset)
    )
    return [(row.asset, row.posted, row.held) for row in found]


async def due_accounts(tx: Tx, program_id: str, at: datetime, member_id: str | None, limit: int) -> list[Key]:
    """Accounts with open lots that have run out at `at`; only a member's if one is named."""
    statement = (
        select(accounts.c.owner_kind, accounts.c.owner, accounts.c.asset)
        .join(lots, (lots.c.program_id == accounts.c.program_id) & (lots.c.account_id == accounts.c.account_id))
        .where(accounts.c.program_id == program_id, lots.c.open, lots.c.expires_at <= at)
        .distinct()
        .limit(limit)
    )
    if member_id is not None:
        statement = statement.where(accounts.c.owner_kind == Owner.MEMBER, accounts.c.owner == member_id)
    return [Key(program_id, Owner(row.owner_kind), row.owner, row.asset) for row in await tx.execute(statement)]


async def due_holds(tx: Tx, program_id: str, at: datetime, limit: int) -> list[UUID]:
    """Active holds that have run out at `at`, the oldest first."""
    found = await tx.execute(
        select(holds.c.hold_id)
        .where(holds.c.program_id == program_id, holds.c.state == 1, holds.c.expires_at <= at)
        .order_by(holds.c.expires_at)
        .limit(limit)
    )
    return [row.hold_id for row in found]
