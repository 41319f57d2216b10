"""Loading a batch: one round trip, whatever its size, and one more where postings name transactions or holds.

Statements are prepared and take arrays, on the driver's own connection and in its pipeline, because a statement
costs more than the row it brings. Everything is of one program, so one shard can do it (design decision 5).
"""

import secrets
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from psycopg import AsyncConnection

from ledger_svc.journal import named_store
from ledger_svc.journal.account import Account
from ledger_svc.journal.alarms import Alarm
from ledger_svc.journal.arrays_store import typed
from ledger_svc.journal.book import Book, KeyName, Wants
from ledger_svc.journal.driver_store import Reader, Row
from ledger_svc.journal.values import Key, Lot, MembersMerged, Owner
from svckit.idempotency import Outcome, State

# More open lots than a debit mostly touches; where it needs more, the batch is loaded again with all of them.
LOTS_MAX: Final = 32
ALL_LOTS: Final = 1_000_000_000

NEW_ACCOUNTS: Final = """
INSERT INTO accounts (program_id, account_id, owner_kind, owner, asset, posted, held, version)
SELECT %b, w.account_id, w.owner_kind, w.owner, w.asset, 0, 0, 0
FROM unnest(%b::bigint[], %b::smallint[], %b::text[], %b::text[]) AS w (account_id, owner_kind, owner, asset)
ORDER BY w.owner_kind, w.owner, w.asset ON CONFLICT DO NOTHING"""
# Sorted first and locked then, in the order of the ids, so that batches never deadlock.
LOCK: Final = """
SELECT w.place, a.account_id, a.posted, a.held, a.version, a.last_at
FROM unnest(%b::smallint[], %b::text[], %b::text[]) WITH ORDINALITY AS w (owner_kind, owner, asset, place)
JOIN accounts a ON a.program_id = %b AND a.owner_kind = w.owner_kind AND a.owner = w.owner AND a.asset = w.asset
ORDER BY a.account_id FOR NO KEY UPDATE OF a"""
LOTS: Final = """
SELECT l.account_id, l.lot_id, l.earned_at, l.expires_at, l.original, l.remaining, l.lapsed
FROM unnest(%b::smallint[], %b::text[], %b::text[]) AS w (owner_kind, owner, asset)
JOIN accounts a ON a.program_id = %b AND a.owner_kind = w.owner_kind AND a.owner = w.owner AND a.asset = w.asset
CROSS JOIN LATERAL (
    SELECT * FROM lots WHERE program_id = a.program_id AND account_id = a.account_id AND open
    ORDER BY expires_at, earned_at, lot_id LIMIT %b) l"""
KEYS: Final = """
SELECT k.operation, k.key, k.fingerprint, k.state, k.body FROM unnest(%b::text[], %b::text[]) AS w (operation, key)
JOIN idempotency_keys k ON k.program_id = %b AND k.operation = w.operation AND k.key = w.key"""
MEMBERS: Final = (
    "SELECT member_id, active, alias_of FROM members WHERE program_id = %b AND member_id = ANY (%b::text[])"
)
# Who counts for merged members, up the tree of merges; the bound is for a tree that is being changed.
ALIASES: Final = """
WITH RECURSIVE up AS (
    SELECT member_id, alias_of, 1 AS depth FROM members
    WHERE program_id = %b AND member_id = ANY (%b::text[]) AND alias_of IS NOT NULL
    UNION ALL
    SELECT up.member_id, m.alias_of, up.depth + 1 FROM up
    JOIN members m ON m.program_id = %b AND m.member_id = up.alias_of AND m.alias_of IS NOT NULL WHERE up.depth < 50)
SELECT DISTINCT ON (member_id) member_id, alias_of FROM up ORDER BY member_id, depth DESC"""
OWN_LOTS: Final = """
SELECT l.account_id, l.lot_id, l.earned_at, l.expires_at, l.original, l.remaining, l.lapsed
FROM unnest(%b::smallint[], %b::text[], %b::text[]) AS w (owner_kind, owner, asset)
JOIN accounts a ON a.program_id = %b AND a.owner_kind = w.owner_kind AND a.owner = w.owner AND a.asset = w.asset
JOIN lots l ON l.program_id = a.program_id AND l.account_id = a.account_id AND l.lot_id = ANY (%b::uuid[])"""
# Under the account's lock: whoever has it has written what became of the alarm.
ALARMS: Final = """
SELECT currency, threshold_minor, low FROM low_balances WHERE program_id = %b AND currency = ANY (%b::text[])"""
EVENTS: Final = "SELECT event_id FROM events WHERE program_id = %b AND event_id = ANY (%b::text[])"


class AccountsMissing(Exception):  # noqa: N818 - not an error: they are made, and the batch is loaded again
    """Accounts that are posted to for the first time."""

    def __init__(self, keys: Collection[Key]) -> None:
        super().__init__()
        self.keys = keys


async def load(
    connection: AsyncConnection[Any], book: Book, wants: Sequence[Wants], names: Collection[KeyName], lots_max: int
) -> None:
    """Fills the book of a batch, its accounts locked. `lots_max` bounds the open lots that are loaded of each.

    It is loaded for those who count by the book's aliases, which mostly are none; whether they do is known only when
    their accounts are locked. Raises MembersMerged with those that it is to be loaded with instead, and
    AccountsMissing, which `create` answers.
    """
    named = await named_store.find(connection, book.program_id, wants)
    asked, own = {key for want in wants for key in want.accounts}, {key for want in wants for key in want.own}
    accounts = {book.counting(key) for key in (*asked, *own, *named.accounts.values())} | own
    members = _members({*asked, *own, *named.accounts.values()}) | {*book.aliases.values()}
    locked = [*accounts.union(named.accounts.values())]
    # Packed once, for the lots as well.
    columns = typed(LOCK, (*_columns(locked), book.program_id))
    reader = Reader(connection)
    async with connection.pipeline():
        await reader.ask("accounts", LOCK, *columns)
        await reader.ask("lots", LOTS, *columns, lots_max)
        # After the accounts are locked: a twin of a key is mostly on the same account, and has committed by then.
        await _ask_what_is(reader, book.program_id, members, wants, names)
        if lots := [lot_id for want in wants for lot_id in want.lots]:
            await reader.ask("own", OWN_LOTS, *_columns(own), book.program_id, lots)
        if funding := {key for key in (*accounts, *named.accounts.values()) if key.owner_kind is Owner.FUNDING}:
            await reader.ask("alarms", ALARMS, book.program_id, [key.asset for key in funding])
        await named_store.ask(reader, book.program_id, named)
    for operation, name, fingerprint, state, body in await reader.rows("keys"):
        book.keys[operation, name] = Outcome(fingerprint, State(state), body)
    await _check_members(connection, book, await reader.rows("members"))
    book.events = {event_id for (event_id,) in await reader.rows("events")}
    for currency, *alarm in await reader.rows("alarms"):
        book.alarms[Key(book.program_id, Owner.FUNDING, currency, currency)] = Alarm(*alarm)
    known = await _accounts(reader, book, locked, lots_max)
    # Nobody posts to one that is not a member, so that an account is not made for them.
    new = accounts - book.accounts.keys()
    if missing := {key for key in new if key.owner_kind is not Owner.MEMBER or key.owner in book.members}:
        raise AccountsMissing(missing)
    await named_store.fill(reader, book, named, known)


async def create(connection: AsyncConnection[Any], program_id: str, keys: Collection[Key]) -> None:
    """Makes accounts, unless another process was first."""
    ids = [secrets.randbits(62) for _ in keys]
    parameters = typed(NEW_ACCOUNTS, (program_id, ids, *_columns(keys)))
    await connection.execute(NEW_ACCOUNTS, parameters, prepare=True)


async def _ask_what_is(
    reader: Reader, program_id: str, members: Collection[str], wants: Sequence[Wants], names: Collection[KeyName]
) -> None:
    if members:
        await reader.ask("members", MEMBERS, program_id, list(members))
    if events := {event for want in wants for event in want.events}:
        await reader.ask("events", EVENTS, program_id, list(events))
    if names:
        # Last: who sees what a twin wrote sees the twin's key as well.
        await reader.ask("keys", KEYS, [operation for operation, _ in names], [key for _, key in names], program_id)


async def _check_members(connection: AsyncConnection[Any], book: Book, rows: Sequence[Row]) -> None:
    """Notes the members' standing. Raises MembersMerged if others count for them than the book says."""
    book.members = {member_id: active for member_id, active, _ in rows}
    if not book.aliases and all(alias_of is None for *_, alias_of in rows):
        return
    parameters = typed(ALIASES, (book.program_id, list(book.members), book.program_id))
    found = dict(await (await connection.execute(ALIASES, parameters)).fetchall())
    if found != book.aliases:
        raise MembersMerged(found)


def _members(keys: Iterable[Key]) -> set[str]:
    return {key.owner for key in keys if key.owner_kind is Owner.MEMBER}


async def _accounts(reader: Reader, book: Book, locked: Sequence[Key], lots_max: int) -> dict[int, Account]:
    accounts: dict[int, Account] = {}
    for place, account_id, *state in await reader.rows("accounts"):
        key = locked[place - 1]
        accounts[account_id] = book.accounts[key] = Account(key, account_id, *state)
    for account_id, *lot in await reader.rows("lots"):
        # An account that came about after the locks were taken is missing, whatever it has got meanwhile.
        if account_id in accounts:
            accounts[account_id].lots.append(Lot(*lot))
    for account_id, *lot in await reader.rows("own"):
        accounts[account_id].know([Lot(*lot)])
    for account in accounts.values():
        if len(account.lots) >= lots_max:
            account.horizon = account.lots[-1].order()
    return accounts


def _columns(keys: Collection[Key]) -> tuple[list[int], list[str], list[str]]:
    return [key.owner_kind for key in keys], [key.owner for key in keys], [key.asset for key in keys]
