"""Loading what a batch's postings name by id: the transactions that they reverse, the holds that they end."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from ledger_svc.journal.account import Account
from ledger_svc.journal.book import Book, Hold, HoldState, Original, Wants
from ledger_svc.journal.driver_store import Reader, Row
from ledger_svc.journal.values import Category, Entry, Key, Kind, Lot, Owner, Use, split

ENTRIES: Final = """
SELECT a.account_id, a.owner_kind, a.owner, a.asset, e.transaction_id, e.kind, e.category, e.amount, e.balance_after,
    e.version, e.recorded_at, e.effective_at, e.reverses, e.reason
FROM entries e JOIN accounts a ON a.program_id = e.program_id AND a.account_id = e.account_id
WHERE e.program_id = %b AND e.transaction_id = ANY (%b::uuid[])"""
HOLDERS: Final = """
SELECT a.account_id, a.owner_kind, a.owner, a.asset, h.hold_id
FROM holds h JOIN accounts a ON a.program_id = h.program_id AND a.account_id = h.account_id
WHERE h.program_id = %b AND h.hold_id = ANY (%b::uuid[])"""
HOLDS: Final = """
SELECT hold_id, account_id, amount, state, placed_at, expires_at, partner FROM holds
WHERE program_id = %b AND hold_id = ANY (%b::uuid[])"""
LOTS: Final = """
SELECT account_id, lot_id, earned_at, expires_at, original, remaining, lapsed FROM lots
WHERE program_id = %b AND account_id = ANY (%b::bigint[]) AND lot_id = ANY (%b::uuid[] || ARRAY(
    SELECT lot_id FROM lot_uses WHERE program_id = %b AND transaction_id = ANY (%b::uuid[])))"""
USES: Final = """
SELECT transaction_id, lot_id, amount FROM lot_uses WHERE program_id = %b AND transaction_id = ANY (%b::uuid[])
ORDER BY transaction_id, position"""
REVERSED: Final = """
SELECT r.transaction_id, r.reversed, (SELECT coalesce(sum(e.amount), 0)::bigint FROM entries e
    WHERE e.program_id = r.program_id AND e.reverses = r.transaction_id)
FROM reversals r WHERE r.program_id = %b AND r.transaction_id = ANY (%b::uuid[])"""


class Named(NamedTuple):
    """What postings name: entries by transaction, with the id of their account first, holds, and their accounts."""

    entries: Mapping[UUID, Row]
    holds: Sequence[UUID]
    accounts: Mapping[int, Key]

    @property
    def ids(self) -> list[UUID]:
        """Transactions and holds."""
        return [*self.entries, *self.holds]


async def find(connection: AsyncConnection[Any], program_id: str, wants: Sequence[Wants]) -> Named:
    """What there is of what the postings name, in one round trip; in none if they name nothing."""
    transactions = list({one for want in wants for one in want.transactions})
    holds = list({one for want in wants for one in want.holds})
    if not transactions and not holds:
        return Named({}, (), {})
    reader = Reader(connection)
    async with connection.pipeline():
        await reader.ask("entries", ENTRIES, program_id, transactions)
        await reader.ask("holders", HOLDERS, program_id, holds)
    entries, holders = await reader.rows("entries"), await reader.rows("holders")
    keys = {row[0]: Key(program_id, Owner(row[1]), row[2], row[3]) for row in (*entries, *holders)}
    return Named({row[4]: (row[0], *row[4:]) for row in entries}, [row[4] for row in holders], keys)


async def ask(reader: Reader, program_id: str, named: Named) -> None:
    """Asks for what they drew, and what became of them, once their accounts are locked."""
    ids, accounts = named.ids, list(named.accounts)
    if ids:
        await reader.ask("named", LOTS, program_id, accounts, ids, program_id, ids)
        await reader.ask("uses", USES, program_id, ids)
    if named.entries:
        await reader.ask("reversed", REVERSED, program_id, list(named.entries))
    if named.holds:
        # Under the account's lock: that decides capture against void (G7).
        await reader.ask("holds", HOLDS, program_id, named.holds)


async def fill(reader: Reader, book: Book, named: Named, accounts: Mapping[int, Account]) -> None:
    """Fills in the answers."""
    lots: dict[int, list[Lot]] = {}
    for account_id, *lot in await reader.rows("named"):
        lots.setdefault(account_id, []).append(Lot(*lot))
    for account_id, known in lots.items():
        accounts[account_id].know(known)
    uses: dict[UUID, list[Use]] = {}
    for transaction_id, lot_id, amount in await reader.rows("uses"):
        uses.setdefault(transaction_id, []).append(Use(lot_id, amount))
    so_far = {row[0]: row[1:] for row in await reader.rows("reversed")}
    for transaction_id, row in named.entries.items():
        entry, (reversed_, moved) = _entry(row), so_far.get(transaction_id, (0, 0))
        # The last drawn comes back first, so what is left of a debit is what it drew first.
        left, _ = split(uses.get(transaction_id, []), max(0, -entry.amount - reversed_))
        book.originals[transaction_id] = Original(named.accounts[row[0]], entry, left, reversed_, moved)
    for hold_id, account_id, amount, state, placed_at, expires_at, partner in await reader.rows("holds"):
        key, frozen = named.accounts[account_id], uses.get(hold_id, [])
        book.holds[hold_id] = Hold(hold_id, key, amount, HoldState(state), placed_at, expires_at, partner, frozen)


def _entry(row: Row) -> Entry:
    _, transaction_id, kind, category, *rest = row
    return Entry(transaction_id, Kind(kind), Category(category), *rest)
