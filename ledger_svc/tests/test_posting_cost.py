"""What the statements of a posting look at: the rows of its own accounts by index, however a program's rows lie among
those of others. They are planned without a look at the values, as they are for the service."""

import itertools
import re
from collections.abc import Awaitable, Callable
from typing import Final

import psycopg
import pytest

from ledger_svc.journal import load_store, named_store, save_store
from svckit.db import _SESSION

# Most programs are small, and one has most of the rows: by the average, a program is read as a whole for nothing.
FILL: Final = """
INSERT INTO accounts (program_id, account_id, owner_kind, owner, asset, posted, held, version, last_at)
SELECT p, a, 1, 'm' || a, 'PTS', 1, 0, 1, now() FROM rows;
INSERT INTO lots (program_id, account_id, lot_id, earned_at, original, remaining, open)
SELECT p, a, gen_random_uuid(), now(), 1, 1, true FROM rows;
INSERT INTO idempotency_keys (program_id, operation, key, fingerprint, state, body)
SELECT p, 'CreateCredit', 'k' || a, '', 2, '' FROM rows;
INSERT INTO members (program_id, member_id, active, version, alias_of)
SELECT p, 'm' || a, true, 1, CASE WHEN a % 2 = 0 THEN 'm' || a + 1 END FROM rows;
INSERT INTO entries (program_id, account_id, recorded_at, version, transaction_id, kind, category, amount,
    balance_after, effective_at, reason) SELECT p, a, now(), 1, gen_random_uuid(), 1, 1, 1, 1, now(), '' FROM rows;
INSERT INTO lot_uses (program_id, transaction_id, position, lot_id, amount)
SELECT p, gen_random_uuid(), 0, gen_random_uuid(), 1 FROM rows;
INSERT INTO holds (program_id, hold_id, account_id, amount, state, placed_at)
SELECT p, gen_random_uuid(), a, 1, 1, now() FROM rows;
INSERT INTO events (program_id, event_id, transaction_id, member_id, type, amount_minor, currency, occurred_at,
    received_at, points) SELECT p, 'e' || a, gen_random_uuid(), 'm', 'x', 1, 'USD', now(), now(), 1 FROM rows;
INSERT INTO low_balances (program_id, currency, threshold_minor, low) SELECT p, 'C' || a, 1, false FROM rows;
INSERT INTO reversals (program_id, transaction_id, amount, reversed) SELECT p, gen_random_uuid(), 1, 1 FROM rows;
ANALYZE;
"""
ROWS: Final = """
CREATE TEMPORARY TABLE rows AS SELECT 'small' || n AS p, n AS a FROM generate_series(1, 4000) n
UNION ALL SELECT 'large', n FROM generate_series(1, 20000) n"""
ROOMS: Final = (load_store, save_store, named_store)
STATEMENTS: Final = {
    f"{room.__name__.rpartition('.')[2]}.{name}": text
    for room in ROOMS
    for name, text in vars(room).items()
    if name.isupper() and isinstance(text, str) and "FROM" in text
}


@pytest.fixture(scope="module")
async def filled(shared_url: Callable[[str], Awaitable[str]]) -> str:
    url = await shared_url("ledger_svc")
    with psycopg.connect(url.replace("ledger_runtime@", "ledger_owner@"), autocommit=True) as owner:
        owner.execute(ROWS)
        owner.execute(FILL)
    return url


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_reads_a_program_as_a_whole(filled: str, name: str) -> None:
    numbers = itertools.count(1)
    numbered = re.sub("%b", lambda _: f"${next(numbers)}", STATEMENTS[name])
    with psycopg.connect(filled, options=_SESSION) as connection:
        answer = connection.pgconn.exec_(f"EXPLAIN (GENERIC_PLAN, FORMAT TEXT) {numbered}".encode())
    assert answer.error_message == b""
    lines = [(answer.get_value(row, 0) or b"").decode() for row in range(answer.ntuples)]
    plan = "\n".join(lines)
    assert "Seq Scan" not in plan
    conditions = [line.strip() for line in lines if "Index Cond" in line]
    assert [one for one in conditions if re.fullmatch(r"Index Cond: \(program_id = \S+\)", one)] == [], plan
