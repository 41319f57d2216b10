"""Writing a batch: one round trip of array statements, whatever its size."""

import json
from collections.abc import Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Final, LiteralString
from uuid import UUID

from psycopg import AsyncConnection
from uuid_utils import uuid7

from ledger_svc.journal.account import Account
from ledger_svc.journal.arrays_store import typed
from ledger_svc.journal.book import Book, Fallen, Told
from ledger_svc.journal.driver_store import Row
from ledger_svc.journal.values import Use
from svckit import money

SAVE_ACCOUNTS: Final = """
UPDATE accounts a SET posted = w.posted, held = w.held, version = w.version, last_at = w.last_at
FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::timestamptz[])
    AS w (account_id, posted, held, version, last_at)
WHERE a.program_id = %b AND a.account_id = w.account_id"""
SAVE_ENTRIES: Final = """
INSERT INTO entries (program_id, account_id, transaction_id, kind, category, amount, balance_after, version,
    recorded_at, effective_at, reverses, reason)
SELECT %b, * FROM unnest(%b::bigint[], %b::uuid[], %b::smallint[], %b::smallint[], %b::bigint[], %b::bigint[],
    %b::bigint[], %b::timestamptz[], %b::timestamptz[], %b::uuid[], %b::text[])"""
SAVE_NEW_LOTS: Final = """
INSERT INTO lots (program_id, account_id, lot_id, earned_at, expires_at, original, remaining, lapsed, received_at, open)
SELECT %b, w.*, w.remaining > 0
FROM unnest(%b::bigint[], %b::uuid[], %b::timestamptz[], %b::timestamptz[], %b::bigint[], %b::bigint[], %b::bigint[],
    %b::timestamptz[]) AS w (account_id, lot_id, earned_at, expires_at, original, remaining, lapsed, received_at)"""
SAVE_LOTS: Final = """
UPDATE lots l SET remaining = w.remaining, lapsed = w.lapsed, open = w.remaining > 0
FROM unnest(%b::bigint[], %b::uuid[], %b::bigint[], %b::bigint[]) AS w (account_id, lot_id, remaining, lapsed)
WHERE l.program_id = %b AND l.account_id = w.account_id AND l.lot_id = w.lot_id"""
SAVE_USES: Final = """
INSERT INTO lot_uses (program_id, transaction_id, position, lot_id, amount)
SELECT %b, * FROM unnest(%b::uuid[], %b::bigint[], %b::uuid[], %b::bigint[])"""
SAVE_REVERSALS: Final = """
INSERT INTO reversals (program_id, transaction_id, amount, reversed)
SELECT %b, w.transaction_id, w.amount, w.reversed
FROM unnest(%b::uuid[], %b::bigint[], %b::bigint[]) AS w (transaction_id, amount, reversed)
ON CONFLICT (program_id, transaction_id) DO UPDATE SET reversed = excluded.reversed"""
SAVE_HOLDS: Final = """
INSERT INTO holds (program_id, hold_id, account_id, amount, state, placed_at, expires_at, ended_at, partner)
SELECT %b, * FROM unnest(%b::uuid[], %b::bigint[], %b::bigint[], %b::smallint[], %b::timestamptz[], %b::timestamptz[],
    %b::timestamptz[], %b::boolean[])
ON CONFLICT (program_id, hold_id) DO UPDATE SET state = excluded.state, ended_at = excluded.ended_at"""
SAVE_EVENTS: Final = """
INSERT INTO events (program_id, event_id, transaction_id, member_id, type, amount_minor, currency, occurred_at,
    received_at, points)
SELECT %b, * FROM unnest(%b::text[], %b::uuid[], %b::text[], %b::text[], %b::bigint[], %b::text[], %b::timestamptz[],
    %b::timestamptz[], %b::bigint[])"""
SAVE_KEYS: Final = """
INSERT INTO idempotency_keys (program_id, operation, key, fingerprint, state, body)
SELECT %b, * FROM unnest(%b::text[], %b::text[], %b::bytea[], %b::smallint[], %b::bytea[])"""
SAVE_ALARMS: Final = """
INSERT INTO low_balances (program_id, currency, threshold_minor, low)
SELECT %b, * FROM unnest(%b::text[], %b::bigint[], %b::boolean[])
ON CONFLICT (program_id, currency) DO UPDATE SET threshold_minor = excluded.threshold_minor, low = excluded.low"""
SAVE_OUTBOX: Final = """
INSERT INTO outbox (program_id, event_id, type, member_id, created_at, data)
SELECT %b, * FROM unnest(%b::uuid[], %b::text[], %b::text[], %b::timestamptz[], %b::text[])"""


async def save(connection: AsyncConnection[Any], book: Book) -> None:
    """Writes what the batch made true, in one round trip. Raises what the database refuses, as a whole."""
    program_id, touched = book.program_id, [a for a in book.accounts.values() if a.changes.any]
    entries = [(a.account_id, *entry) for a in touched for entry in a.changes.entries]
    new_lots = [(a.account_id, lot) for a in touched for lot in a.changes.new_lots]
    born_now = {lot.lot_id for _, lot in new_lots}
    lots = [(a.account_id, lot) for a in touched for lot in a.changes.lots.values() if lot.lot_id not in born_now]
    uses = [row for transaction_id, used in _all_uses(book, touched).items() for row in _rows(transaction_id, used)]
    holds = {hold.hold_id: hold for hold in (*book.new_holds, *book.ended_holds)}.values()
    reversed_ = {original.entry.transaction_id: original for original, _ in book.reversals}.values()
    writer = Writer()
    states = [(a.account_id, a.posted, a.held, a.version, a.last_at) for a in touched]
    writer.write(SAVE_ACCOUNTS, states, program_id, last=True)
    writer.write(SAVE_ENTRIES, entries, program_id)
    born = [
        (i, x.lot_id, x.earned_at, x.expires_at, x.original, x.remaining, x.lapsed, x.received_at) for i, x in new_lots
    ]
    writer.write(SAVE_NEW_LOTS, born, program_id)
    writer.write(SAVE_LOTS, [(i, lot.lot_id, lot.remaining, lot.lapsed) for i, lot in lots], program_id, last=True)
    writer.write(SAVE_USES, uses, program_id)
    totals = [(x.entry.transaction_id, abs(x.entry.amount), x.reversed) for x in reversed_]
    writer.write(SAVE_REVERSALS, totals, program_id)
    of = {key: account.account_id for key, account in book.accounts.items()}
    placed = [
        (h.hold_id, of[h.key], h.amount, h.state, h.placed_at, h.expires_at, h.ended_at, h.partner) for h in holds
    ]
    writer.write(SAVE_HOLDS, placed, program_id)
    # In one order, because who brings the same event or key under other accounts' locks waits here.
    writer.write(SAVE_EVENTS, sorted(book.new_events, key=attrgetter("event_id")), program_id)
    kept = [(*name, o.fingerprint, o.state, o.body) for name, o in sorted(book.new_keys.items(), key=itemgetter(0))]
    writer.write(SAVE_KEYS, kept, program_id)
    alarms = [(key.asset, alarm.threshold, alarm.low) for key, alarm in book.alarms.items() if alarm.moved]
    writer.write(SAVE_ALARMS, alarms, program_id)
    writer.write(SAVE_OUTBOX, [*map(_told, book.told), *map(_fallen, book.fallen)], program_id)
    await writer.send(connection)


class Writer:
    """Gathers rows as arrays, one a column, and sends all of them as one statement.

    Its parts write different rows, so that they see the same state of the database does not matter.
    """

    def __init__(self) -> None:
        self._parts: list[LiteralString] = []
        self._parameters: list[object] = []

    def write(self, statement: LiteralString, rows: Sequence[Row], program_id: str, *, last: bool = False) -> None:
        """Adds a statement for `rows`, if there are any. `last`: the program is its last parameter."""
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            self._parts.append(statement)
            self._parameters += typed(statement, (*columns, program_id) if last else (program_id, *columns))

    async def send(self, connection: AsyncConnection[Any]) -> None:
        """Sends what there is."""
        if self._parts:
            steps = ", ".join(f"step{place} AS ({part})" for place, part in enumerate(self._parts))
            await connection.execute(f"WITH {steps} SELECT 1", self._parameters, prepare=True)


def _all_uses(book: Book, touched: Sequence[Account]) -> dict[UUID, list[Use]]:
    """Movements of lots by transaction or hold; those of a transfer are of two accounts."""
    uses = {hold.hold_id: list(hold.uses) for hold in book.new_holds}
    for account in touched:
        for transaction_id, used in account.changes.uses.items():
            uses.setdefault(transaction_id, []).extend(used)
    return uses


def _rows(transaction_id: UUID, uses: Sequence[Use]) -> Iterable[Row]:
    for position, use in enumerate(uses):
        # What is given back stands on the other side of zero, so that it never meets what was drawn.
        yield transaction_id, position if use.amount > 0 else ~position, use.lot_id, use.amount


def _told(told: Told) -> Row:
    entry = told.entry
    data = f'{{"transactionId":"{entry.transaction_id}","points":{told.points},"balance":{entry.balance_after}}}'
    return uuid7(), told.type, told.key.owner, entry.recorded_at, data


def _fallen(fallen: Fallen) -> Row:
    currency = fallen.key.asset
    available, threshold = money.major(fallen.available, currency), money.major(fallen.threshold, currency)
    data = json.dumps({"currency": currency, "available": available, "threshold": threshold}, separators=(",", ":"))
    # It is about the program and no member of it.
    return uuid7(), "funding.low", "", fallen.at, data
