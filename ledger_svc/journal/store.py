"""The journal's SQL. Rows are locked in one order: an account, then what hangs on it."""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from ledger_svc.journal.values import Category, Entry, Key, Kind, Owner
from ledger_svc.tables import accounts, entries, holds, lots, low_balances, members, reversals
from svckit.db import Tx
from svckit.errors import Reason, Refused


class Counting(NamedTuple):
    """The member that counts for an id, and whether it may earn and redeem."""

    member_id: str
    active: bool


class Funding(NamedTuple):
    """A program's prepaid funding in a currency, in minor units."""

    currency: str
    posted: int
    held: int
    threshold: int
    low: bool


async def counting(tx: Tx, program_id: str, member_id: str, *, lock: bool = False) -> Counting:
    """The member himself, or the one that he was merged into; with `lock` that stays so until the transaction ends.

    Raises MEMBER_NOT_FOUND.
    """
    columns = select(members.c.member_id, members.c.alias_of, members.c.active)
    if lock:
        columns = columns.with_for_update(read=True, key_share=True)
    while True:
        this_one = (members.c.program_id == program_id, members.c.member_id == member_id)
        row = (await tx.execute(columns.where(*this_one))).one_or_none()
        if row is None:
            raise Refused(Reason.MEMBER_NOT_FOUND, "There is no such member.")
        if row.alias_of is None:
            return Counting(row.member_id, row.active)
        member_id = row.alias_of


async def alias_of(tx: Tx, program_id: str, member_id: str) -> str | None:
    """Whose alias the member is; nobody changes that until the transaction ends."""
    this_one = (members.c.program_id == program_id, members.c.member_id == member_id)
    found: str | None = await tx.scalar(select(members.c.alias_of).where(*this_one).with_for_update())
    return found


async def store_member(
    tx: Tx, program_id: str, member_id: str, *, active: bool, version: int, alias_of: str | None = None
) -> bool:
    """Stores what a member may do and whose alias it is; False if a version not older is there."""
    row = {
        "program_id": program_id,
        "member_id": member_id,
        "active": active,
        "version": version,
        "alias_of": alias_of,
    }
    statement = upsert(members).values(row)
    newer = members.c.version < statement.excluded.version
    stored = statement.on_conflict_do_update(index_elements=["program_id", "member_id"], set_=row, where=newer)
    return (await tx.execute(stored)).rowcount == 1


async def assets_of(tx: Tx, program_id: str, member_id: str) -> set[str]:
    """The assets that a member has accounts of."""
    of_member = (accounts.c.program_id == program_id, accounts.c.owner_kind == Owner.MEMBER)
    return set(await tx.scalars(select(accounts.c.asset).where(*of_member, accounts.c.owner == member_id)))


_HANDED_OVER: Final = text("""
WITH given AS (
    SELECT e.program_id, e.transaction_id, e.account_id, a.asset
    FROM entries e JOIN accounts a USING (program_id, account_id)
    WHERE a.program_id = :program_id AND a.owner_kind = :owner_kind AND a.owner = :merged
        AND e.kind = :transfer AND e.category = :adjust AND e.amount < 0
), left_lots AS (
    SELECT g.transaction_id, u.lot_id, row_number() OVER (PARTITION BY g.transaction_id ORDER BY u.position) AS place
    FROM given g JOIN lot_uses u ON u.program_id = g.program_id AND u.transaction_id = g.transaction_id
    JOIN lots l ON l.program_id = u.program_id AND l.account_id = g.account_id AND l.lot_id = u.lot_id
    WHERE u.amount > 0
), came_lots AS (
    SELECT g.transaction_id, g.asset, l.lot_id, l.remaining,
        row_number() OVER (PARTITION BY g.transaction_id ORDER BY l.lot_id) AS place
    FROM given g JOIN accounts s ON s.program_id = g.program_id AND s.owner_kind = :owner_kind
        AND s.owner = :survivor AND s.asset = g.asset
    JOIN entries e ON e.program_id = g.program_id AND e.transaction_id = g.transaction_id
        AND e.account_id = s.account_id
    JOIN lots l ON l.program_id = e.program_id AND l.account_id = e.account_id AND l.received_at = e.recorded_at
)
SELECT c.asset, c.lot_id AS came, g.lot_id AS gone FROM came_lots c JOIN left_lots g USING (transaction_id, place)
WHERE c.remaining > 0
""")


async def handed_over(tx: Tx, program_id: str, merged: str, survivor: str) -> dict[str, dict[UUID, UUID]]:
    """By asset: the survivor's lots that came by merging and have something left, each with the lot it came from.

    A transfer makes its lots in the order in which it draws, and their ids are made in order.
    """
    words = {"transfer": int(Kind.TRANSFER), "adjust": int(Category.ADJUST), "owner_kind": int(Owner.MEMBER)}
    names = {"program_id": program_id, "merged": merged, "survivor": survivor}
    found: dict[str, dict[UUID, UUID]] = {}
    for asset, came, gone in await tx.execute(_HANDED_OVER.bindparams(**words, **names)):
        found.setdefault(asset, {})[came] = gone
    return found


async def find_redemption(tx: Tx, program_id: str, transaction_id: UUID) -> tuple[int, Entry] | None:
    """The account and the entry of a redemption; other kinds, of which a transfer has two entries, are none."""
    this_one = (entries.c.program_id == program_id, entries.c.transaction_id == transaction_id)
    row = (await tx.execute(select(entries).where(*this_one, entries.c.kind == Kind.REDEEM))).one_or_none()
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


async def funding(tx: Tx, program_id: str, currency: str | None = None) -> list[Funding]:
    """Each funding account, in order of the currency; only that of `currency` if one is named."""
    alarm = (low_balances.c.program_id == accounts.c.program_id) & (low_balances.c.currency == accounts.c.asset)
    columns = accounts.c.asset, accounts.c.posted, accounts.c.held, low_balances.c.threshold_minor, low_balances.c.low
    statement = (
        select(*columns)
        .select_from(accounts.outerjoin(low_balances, alarm))
        .where(accounts.c.program_id == program_id, accounts.c.owner_kind == Owner.FUNDING)
        .order_by(accounts.c.asset)
    )
    if currency is not None:
        statement = statement.where(accounts.c.asset == currency)
    return [
        Funding(row.asset, row.posted, row.held, row.threshold_minor or 0, bool(row.low))
        for row in await tx.execute(statement)
    ]


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
