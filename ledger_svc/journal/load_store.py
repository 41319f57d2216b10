"""The batch's SQL: three round trips, whatever the size: look up, lock and load, write.

Statements are prepared and take arrays, on the driver's own connection and in its pipeline, because a statement
costs more than the row it brings. Everything is of one program, so one shard can do it (design decision 5).
"""

import secrets
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, LiteralString, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection, AsyncCursor

from ledger_svc.journal.account import Account
from ledger_svc.journal.book import Book, Hold, HoldState, KeyName, Original, Wants
from ledger_svc.journal.values import Category, Entry, Key, Kind, Lot, MembersMerged, Owner, Use, split
from svckit.db import Tx
from svckit.idempotency import Outcome, State

# More open lots than a debit mostly touches; where it needs more, the batch is loaded again with all of them.
LOTS_MAX: Final = 32
ALL_LOTS: Final = 1_000_000_000

KEYS: Final = """
SELECT k.operation, k.key, k.fingerprint, k.state, k.body FROM unnest(%b::text[], %b::text[]) AS w (operation, key)
JOIN idempotency_keys k ON k.program_id = %b AND k.operation = w.operation AND k.key = w.key"""
MEMBERS: Final = (
    "SELECT member_id, active, alias_of FROM members WHERE program_id = %b AND member_id = ANY (%b::text[])"
)
# Who counts for a merged member, up the tree of merges; the bound is for a tree that is being changed.
ALIASES: Final = """
WITH RECURSIVE up AS (
    SELECT member_id, alias_of, 1 AS depth FROM members
    WHERE program_id = %b AND member_id = ANY (%b::text[]) AND alias_of IS NOT NULL
    UNION ALL
    SELECT up.member_id, m.alias_of, up.depth + 1 FROM up
    JOIN members m ON m.program_id = %b AND m.member_id = up.alias_of AND m.alias_of IS NOT NULL WHERE up.depth < 50)
SELECT DISTINCT ON (member_id) member_id, alias_of FROM up ORDER BY member_id, depth DESC"""
# Whose the accounts of named transactions and holds are.
OWNERS: Final = """
SELECT a.owner_kind, a.owner, a.asset, m.alias_of FROM accounts a
LEFT JOIN members m ON m.program_id = a.program_id AND m.member_id = a.owner AND a.owner_kind = 1
WHERE a.program_id = %b AND a.account_id IN (
    SELECT account_id FROM entries WHERE program_id = %b AND transaction_id = ANY (%b::uuid[])
    UNION ALL SELECT account_id FROM holds WHERE program_id = %b AND hold_id = ANY (%b::uuid[]))"""
ACCOUNT_IDS: Final = """
SELECT w.owner_kind, w.owner, w.asset, a.account_id
FROM unnest(%b::smallint[], %b::text[], %b::text[]) AS w (owner_kind, owner, asset)
JOIN accounts a ON a.program_id = %b AND a.owner_kind = w.owner_kind AND a.owner = w.owner AND a.asset = w.asset"""
NEW_ACCOUNTS: Final = """
INSERT INTO accounts (program_id, account_id, owner_kind, owner, asset, posted, held, version)
SELECT %b, w.account_id, w.owner_kind, w.owner, w.asset, 0, 0, 0
FROM unnest(%b::bigint[], %b::smallint[], %b::text[], %b::text[]) AS w (account_id, owner_kind, owner, asset)
ORDER BY w.owner_kind, w.owner, w.asset ON CONFLICT DO NOTHING"""
ENTRIES: Final = """
SELECT account_id, transaction_id, kind, category, amount, balance_after, version, recorded_at, effective_at, reverses,
    reason FROM entries WHERE program_id = %b AND transaction_id = ANY (%b::uuid[])"""
HOLDS: Final = """
SELECT hold_id, account_id, amount, state, placed_at, expires_at FROM holds
WHERE program_id = %b AND hold_id = ANY (%b::uuid[])"""
EVENTS: Final = "SELECT event_id FROM events WHERE program_id = %b AND event_id = ANY (%b::text[])"
LOCK: Final = """
SELECT account_id, owner_kind, owner, asset, posted, held, version, last_at FROM accounts
WHERE program_id = %b AND account_id = ANY (%b::bigint[]) ORDER BY account_id FOR NO KEY UPDATE"""
LOTS: Final = """
SELECT l.account_id, l.lot_id, l.earned_at, l.expires_at, l.original, l.remaining, l.lapsed
FROM unnest(%b::bigint[]) AS w (account_id) CROSS JOIN LATERAL (
    SELECT * FROM lots WHERE program_id = %b AND account_id = w.account_id AND open
    ORDER BY expires_at, earned_at, lot_id LIMIT %b) l"""
NAMED_LOTS: Final = """
SELECT DISTINCT l.account_id, l.lot_id, l.earned_at, l.expires_at, l.original, l.remaining, l.lapsed
FROM lot_uses u JOIN lots l ON l.program_id = u.program_id AND l.lot_id = u.lot_id AND l.account_id = ANY (%b::bigint[])
WHERE u.program_id = %b AND u.transaction_id = ANY (%b::uuid[])
UNION SELECT account_id, lot_id, earned_at, expires_at, original, remaining, lapsed FROM lots
WHERE program_id = %b AND account_id = ANY (%b::bigint[]) AND lot_id = ANY (%b::uuid[])"""
USES: Final = """
SELECT transaction_id, lot_id, amount FROM lot_uses WHERE program_id = %b AND transaction_id = ANY (%b::uuid[])
ORDER BY transaction_id, position"""
REVERSED: Final = """
SELECT r.transaction_id, r.reversed, (SELECT coalesce(sum(e.amount), 0)::bigint FROM entries e
    WHERE e.program_id = r.program_id AND e.reverses = r.transaction_id)
FROM reversals r WHERE r.program_id = %b AND r.transaction_id = ANY (%b::uuid[])"""


Row = tuple[Any, ...]


class Reader:
    """Asks several questions in one round trip."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection
        self._asked: dict[str, AsyncCursor[Any]] = {}

    async def ask(self, name: str, statement: LiteralString, *parameters: object) -> None:
        """Sends a question."""
        self._asked[name] = self._connection.cursor(binary=True)
        await self._asked[name].execute(statement, parameters, prepare=True)

    async def rows(self, name: str) -> list[tuple[Any, ...]]:
        """The answer to a question; none if it was not asked."""
        return await self._asked[name].fetchall() if name in self._asked else []


async def connection_of(tx: Tx) -> AsyncConnection[Any]:
    """The driver's connection under a transaction."""
    driver = (await tx.get_raw_connection()).driver_connection
    if not isinstance(driver, AsyncConnection):
        raise TypeError("the engine's driver is psycopg's async one")
    return driver


class Asked(NamedTuple):
    """What is looked up under the locks: idempotency keys, members, and events that must be new."""

    keys: Sequence[KeyName]
    members: Collection[str]
    events: Collection[str]


class Loader:
    """Loads the book of one batch. `lots_max` bounds the open lots that are loaded of each account."""

    def __init__(self, connection: AsyncConnection[Any], program_id: str, lots_max: int) -> None:
        self._connection = connection
        self._book = Book(program_id)
        self._program_id = program_id
        self._lots_max = lots_max

    async def load(self, wants: Sequence[Wants], keys: Iterable[KeyName]) -> Book:
        """The book: accounts locked in the order of their ids (so batches never deadlock), made where missing."""
        accounts = {key for want in wants for key in want.accounts}
        own = {key for want in wants for key in want.own}
        transactions = list({one for want in wants for one in want.transactions})
        holds = list({one for want in wants for one in want.holds})
        reader = Reader(self._connection)
        async with self._connection.pipeline():
            if accounts or own:
                await reader.ask("ids", ACCOUNT_IDS, *_columns(accounts | own), self._program_id)
                await reader.ask("aliases", ALIASES, self._program_id, _members(accounts | own), self._program_id)
            if transactions:
                await reader.ask("entries", ENTRIES, self._program_id, transactions)
            if holds:
                await reader.ask("holds", HOLDS, self._program_id, holds)
            if transactions or holds:
                await reader.ask(
                    "owners", OWNERS, *(self._program_id, self._program_id, transactions), *(self._program_id, holds)
                )
        self._book.aliases = dict(await reader.rows("aliases"))
        named = await self._named(reader)
        wanted = {self._book.counting(key) for key in accounts | own | named} if self._book.aliases else accounts
        ids = await self._account_ids(reader, wanted | own)
        entries = {row[1]: row for row in await reader.rows("entries")}
        held = {row[0]: row for row in await reader.rows("holds")}
        ids |= {row[0] for row in entries.values()} | {row[1] for row in held.values()}
        members = {*_members(accounts | own | named), *self._book.aliases.values()}
        asked = Asked(list(keys), members, {event for want in wants for event in want.events})
        lots = [lot_id for want in wants for lot_id in want.lots]
        await self._lock(sorted(ids), entries, held, asked, lots)
        return self._book

    async def _account_ids(self, reader: Reader, accounts: set[Key]) -> set[int]:
        found = {key: row[3] for row in await reader.rows("ids") if (key := self._key(row)) in accounts}
        missing = accounts - found.keys()
        if missing:
            fresh = [secrets.randbits(62) for _ in missing]
            await self._connection.execute(NEW_ACCOUNTS, (self._program_id, fresh, *_columns(missing)), prepare=True)
            made = await self._connection.execute(ACCOUNT_IDS, (*_columns(missing), self._program_id), prepare=True)
            return {*found.values(), *(row[3] for row in await made.fetchall())}
        return set(found.values())

    async def _named(self, reader: Reader) -> set[Key]:
        """The accounts of named transactions and holds; who counts for their members is noted."""
        rows = await reader.rows("owners")
        merged = [row[1] for row in rows if row[3] is not None]
        if merged:
            found = await self._connection.execute(ALIASES, (self._program_id, merged, self._program_id))
            self._book.aliases |= dict(await found.fetchall())
        return {self._key(row) for row in rows}

    def _key(self, row: Row) -> Key:
        return _key(self._program_id, *row[:3])

    async def _ask_what_is(self, reader: Reader, asked: Asked) -> None:
        # After the accounts are locked: a twin of a key is mostly on the same account, and has committed by then.
        if asked.keys:
            operations, names = [operation for operation, _ in asked.keys], [name for _, name in asked.keys]
            await reader.ask("keys", KEYS, operations, names, self._program_id)
        if asked.members:
            await reader.ask("members", MEMBERS, self._program_id, list(asked.members))
        if asked.events:
            await reader.ask("events", EVENTS, self._program_id, list(asked.events))

    async def _what_is(self, reader: Reader) -> None:
        for operation, name, fingerprint, state, body in await reader.rows("keys"):
            self._book.keys[operation, name] = Outcome(fingerprint, State(state), body)
        members = await reader.rows("members")
        self._book.members = {member_id: active for member_id, active, _ in members}
        if self._book.aliases or any(alias_of for *_, alias_of in members):
            # Merged, or no longer so, since it was looked up without the locks.
            asked = [member_id for member_id, *_ in members]
            now = await self._connection.execute(ALIASES, (self._program_id, asked, self._program_id))
            if dict(await now.fetchall()) != self._book.aliases:
                raise MembersMerged
        self._book.events = {event_id for (event_id,) in await reader.rows("events")}

    async def _lock(
        self, ids: list[int], entries: dict[UUID, Row], held: dict[UUID, Row], asked: Asked, lots: list[UUID]
    ) -> None:
        reader, named = Reader(self._connection), [*entries, *held, *lots]
        async with self._connection.pipeline():
            await reader.ask("accounts", LOCK, self._program_id, ids)
            await reader.ask("lots", LOTS, ids, self._program_id, self._lots_max)
            await self._ask_what_is(reader, asked)
            if named:
                await reader.ask("named", NAMED_LOTS, ids, self._program_id, named, self._program_id, ids, named)
                await reader.ask("uses", USES, self._program_id, named)
            if entries:
                await reader.ask("reversed", REVERSED, self._program_id, list(entries))
            if held:
                # Again, under the account's lock: that decides capture against void (G7).
                await reader.ask("holds", HOLDS, self._program_id, list(held))
        await self._what_is(reader)
        accounts = await self._accounts(reader)
        uses = await _uses(reader, "uses")
        so_far = {row[0]: row[1:] for row in await reader.rows("reversed")}
        for transaction_id, row in entries.items():
            entry, (reversed_, moved) = _entry(row), so_far.get(transaction_id, (0, 0))
            # The last drawn comes back first, so what is left of a debit is what it drew first.
            left, _ = split(uses.get(transaction_id, []), max(0, -entry.amount - reversed_))
            self._book.originals[transaction_id] = Original(accounts[row[0]].key, entry, left, reversed_, moved)
        for hold_id, account_id, amount, state, placed_at, expires_at in await reader.rows("holds"):
            key = accounts[account_id].key
            frozen = uses.get(hold_id, [])
            self._book.holds[hold_id] = Hold(hold_id, key, amount, HoldState(state), placed_at, expires_at, frozen)

    async def _accounts(self, reader: Reader) -> dict[int, Account]:
        accounts: dict[int, Account] = {}
        for account_id, owner_kind, owner, asset, posted, held, version, last_at in await reader.rows("accounts"):
            key = _key(self._program_id, owner_kind, owner, asset)
            accounts[account_id] = Account(key, account_id, posted, held, version, last_at)
            self._book.accounts[key] = accounts[account_id]
        for account_id, *lot in await reader.rows("lots"):
            accounts[account_id].lots.append(Lot(*lot))
        for account in accounts.values():
            if len(account.lots) >= self._lots_max:
                account.horizon = account.lots[-1].order()
        for account_id, *lot in await reader.rows("named"):
            accounts[account_id].know([Lot(*lot)])
        return accounts


def _columns(keys: Iterable[Key]) -> tuple[list[int], list[str], list[str]]:
    return [int(key.owner_kind) for key in keys], [key.owner for key in keys], [key.asset for key in keys]


def _members(keys: Iterable[Key]) -> list[str]:
    return [key.owner for key in keys if key.owner_kind is Owner.MEMBER]


def _key(program_id: str, owner_kind: int, owner: str, asset: str) -> Key:
    return Key(program_id, Owner(owner_kind), owner, asset)


def _entry(row: Row) -> Entry:
    _, transaction_id, kind, category, *rest = row
    return Entry(transaction_id, Kind(kind), Category(category), *rest)


async def _uses(reader: Reader, name: str) -> dict[UUID, list[Use]]:
    uses: dict[UUID, list[Use]] = {}
    for transaction_id, lot_id, amount in await reader.rows(name):
        uses.setdefault(transaction_id, []).append(Use(lot_id, amount))
    return uses
