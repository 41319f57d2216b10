"""The journal's SQL. Rows are locked in one order: an account, then what hangs on it."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from ledger_svc.journal.account import Account, Category, Changes, Entry, Key, Kind, Lot, Owner, Use
from ledger_svc.tables import accounts, entries, holds, lot_uses, lots, members, reversals
from svckit.db import Tx
from svckit.errors import Reason, Refused


class HoldState(IntEnum):
    """A hold reaches exactly one of the last two."""

    ACTIVE = 1
    CAPTURED = 2
    VOIDED = 3


class Hold(NamedTuple):
    """A hold as stored."""

    hold_id: UUID
    account_id: int
    amount: int
    state: HoldState


async def member_active(tx: Tx, program_id: str, member_id: str) -> bool:
    """Whether the member may earn and redeem. Raises MEMBER_NOT_FOUND."""
    active = await tx.scalar(
        select(members.c.active).where(members.c.program_id == program_id, members.c.member_id == member_id)
    )
    if active is None:
        raise Refused(Reason.MEMBER_NOT_FOUND, "There is no such member.")
    return bool(active)


async def require_active(tx: Tx, program_id: str, member_id: str) -> None:
    """Raises MEMBER_NOT_FOUND or MEMBER_NOT_ACTIVE."""
    if not await member_active(tx, program_id, member_id):
        raise Refused(Reason.MEMBER_NOT_ACTIVE, "The member's status does not allow this.")


async def store_member(tx: Tx, program_id: str, member_id: str, *, active: bool, version: int) -> None:
    """Stores what a member may do unless a later version is there."""
    row = {"program_id": program_id, "member_id": member_id, "active": active, "version": version}
    statement = upsert(members).values(row)
    newer = members.c.version < statement.excluded.version
    await tx.execute(statement.on_conflict_do_update(index_elements=["program_id", "member_id"], set_=row, where=newer))


async def lock(tx: Tx, key: Key, at: datetime, named_lots: Sequence[UUID] = ()) -> Account:
    """The account under its row lock, made if it was not there, with what has run out at `at` posted.

    `named_lots` are loaded too, whether they are open or not.
    """
    row = await _account(tx, key, for_update=True)
    if row is None:
        fresh = {"program_id": key.program_id, "owner_kind": key.owner_kind, "owner": key.owner, "asset": key.asset}
        zero = {"account_id": secrets.randbits(62), "posted": 0, "held": 0, "version": 0}
        await tx.execute(upsert(accounts).values(fresh | zero).on_conflict_do_nothing())
        row = await _account(tx, key, for_update=True)
    account = await _loaded(tx, key, row, named_lots)
    account.sweep(at)
    return account


async def lock_by_id(
    tx: Tx, program_id: str, account_id: int, at: datetime, named_lots: Sequence[UUID] = ()
) -> Account:
    """The account that an entry or a hold names, as `lock` gives it."""
    row = (
        await tx.execute(
            select(accounts.c.owner_kind, accounts.c.owner, accounts.c.asset).where(
                accounts.c.program_id == program_id, accounts.c.account_id == account_id
            )
        )
    ).one()
    return await lock(tx, Key(program_id, Owner(row.owner_kind), row.owner, row.asset), at, named_lots)


async def read(tx: Tx, key: Key) -> Account:
    """The account as it is, unlocked; an empty one if it was never used."""
    row = await _account(tx, key, for_update=False)
    return Account(key, 0) if row is None else await _loaded(tx, key, row)


async def _account(tx: Tx, key: Key, *, for_update: bool) -> Any:
    statement = select(accounts).where(
        accounts.c.program_id == key.program_id,
        accounts.c.owner_kind == key.owner_kind,
        accounts.c.owner == key.owner,
        accounts.c.asset == key.asset,
    )
    if for_update:
        statement = statement.with_for_update(key_share=True)
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


async def write(tx: Tx, account: Account) -> None:
    """Writes the account's changes. The caller holds its lock."""
    program_id, account_id = account.key.program_id, account.account_id
    owner = {"program_id": program_id, "account_id": account_id}
    await tx.execute(
        update(accounts)
        .where(accounts.c.program_id == program_id, accounts.c.account_id == account_id)
        .values(posted=account.posted, held=account.held, version=account.version, last_at=account.last_at)
    )
    changes = account.changes
    if changes.entries:
        await tx.execute(insert(entries), [owner | _entry_row(entry) for entry in changes.entries])
    for lot_id, lot in changes.lots.items():
        values = {"remaining": lot.remaining, "open": lot.remaining > 0}
        if lot_id in changes.new_lots:
            born = {"lot_id": lot_id, "earned_at": lot.earned_at, "expires_at": lot.expires_at}
            await tx.execute(insert(lots).values(owner | born | values | {"original": lot.original}))
        else:
            this_lot = (lots.c.program_id == program_id, lots.c.account_id == account_id, lots.c.lot_id == lot_id)
            await tx.execute(update(lots).where(*this_lot).values(values))
    for transaction_id, uses in changes.uses.items():
        await write_uses(tx, program_id, transaction_id, uses)
    account.changes = Changes()


async def write_uses(tx: Tx, program_id: str, transaction_id: UUID, uses: Sequence[Use]) -> None:
    """Keeps what a transaction or a hold drew, in the order of drawing."""
    rows = [
        {
            "program_id": program_id,
            "transaction_id": transaction_id,
            # What is given back stands on the other side of zero, so that it never meets what was drawn.
            "position": position if use.amount > 0 else ~position,
            "lot_id": use.lot_id,
            "amount": use.amount,
        }
        for position, use in enumerate(uses)
    ]
    if rows:
        await tx.execute(insert(lot_uses), rows)


async def read_uses(tx: Tx, program_id: str, transaction_id: UUID) -> list[Use]:
    """What a transaction or a hold drew, in the order of drawing."""
    found = await tx.execute(
        select(lot_uses.c.lot_id, lot_uses.c.amount)
        .where(lot_uses.c.program_id == program_id, lot_uses.c.transaction_id == transaction_id)
        .order_by(lot_uses.c.position)
    )
    return [Use(row.lot_id, row.amount) for row in found]


async def left_to_reverse(tx: Tx, program_id: str, transaction_id: UUID) -> list[Use]:
    """What a debit drew, less what reversals gave back, in the order of drawing."""
    given_back: dict[UUID, int] = {}
    returned = await tx.execute(
        select(lot_uses.c.lot_id, func.sum(lot_uses.c.amount))
        .join(
            entries,
            and_(entries.c.program_id == lot_uses.c.program_id, entries.c.transaction_id == lot_uses.c.transaction_id),
        )
        .where(entries.c.program_id == program_id, entries.c.reverses == transaction_id)
        .group_by(lot_uses.c.lot_id)
    )
    given_back = {lot_id: -int(amount) for lot_id, amount in returned}
    left = []
    for use in await read_uses(tx, program_id, transaction_id):
        amount = use.amount - given_back.get(use.lot_id, 0)
        if amount:
            left.append(Use(use.lot_id, amount))
    return left


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


async def add_reversal(tx: Tx, program_id: str, transaction_id: UUID, amount: int, reversed_now: int) -> None:
    """Counts a reversal; the table's check refuses more than the original."""
    row = {"program_id": program_id, "transaction_id": transaction_id, "amount": amount, "reversed": reversed_now}
    await tx.execute(
        upsert(reversals)
        .values(row)
        .on_conflict_do_update(
            index_elements=["program_id", "transaction_id"], set_={"reversed": reversals.c.reversed + reversed_now}
        )
    )


async def insert_hold(
    tx: Tx, account: Account, hold_id: UUID, amount: int, at: datetime, expires_at: datetime | None
) -> None:
    """Adds an active hold."""
    row = {"program_id": account.key.program_id, "hold_id": hold_id, "account_id": account.account_id}
    times = {"placed_at": at, "expires_at": expires_at}
    await tx.execute(insert(holds).values(row | times | {"amount": amount, "state": HoldState.ACTIVE}))


async def find_hold(tx: Tx, program_id: str, hold_id: UUID) -> Hold | None:
    """The hold; read it again under its account's lock, which decides capture against void (G7)."""
    row = (
        await tx.execute(select(holds).where(holds.c.program_id == program_id, holds.c.hold_id == hold_id))
    ).one_or_none()
    return None if row is None else Hold(row.hold_id, row.account_id, row.amount, HoldState(row.state))


async def end_hold(tx: Tx, program_id: str, hold_id: UUID, state: HoldState) -> None:
    """Gives the hold its terminal state. The caller holds its lock."""
    this_hold = (holds.c.program_id == program_id, holds.c.hold_id == hold_id)
    await tx.execute(update(holds).where(*this_hold).values(state=state))


def _entry_row(entry: Entry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in Entry.__slots__}


def entry_of(row: Any) -> Entry:
    """The entry that a row of `entries` holds."""
    values = {name: getattr(row, name) for name in Entry.__slots__}
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
