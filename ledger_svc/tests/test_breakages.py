"""A guard that no test misses is none: each breakage is one line, put into a copy of the code, whose tests go red."""

from pathlib import Path
from typing import Final

import pytest

from tests.breakages import TIMES, Breakage, check

CODE: Final = ("ledger_svc", "svckit")
GUARDS: Final = "ledger_svc/tests/test_guards.py"

BREAKAGES: Final = (
    Breakage(
        "no row lock on the balance",
        "ledger_svc/journal/load_store.py",
        " FOR NO KEY UPDATE OF a",
        "",
        f"{GUARDS}::test_a_balance_is_decided_under_its_row_lock",
        "assert 0 == 1",
    ),
    Breakage(
        "no unique key on idempotency",
        "ledger_svc/migrations/versions/0001_journal.py",
        ",\n    PRIMARY KEY (program_id, operation, key)",
        "",
        f"{GUARDS}::test_a_key_is_taken_with_its_effect_or_not_at_all",
        "assert 0 == 1",
    ),
    Breakage(
        "check, then insert in another transaction",
        "ledger_svc/journal/save_store.py",
        "    writer.write(SAVE_KEYS, kept, program_id)\n",
        "    await writer.send(connection); await connection.commit(); writer = Writer(); "
        "writer.write(SAVE_KEYS, kept, program_id)\n",
        f"{GUARDS}::test_a_key_is_taken_with_its_effect_or_not_at_all",
        "assert [0, 0] == [0, 100]",
    ),
    Breakage(
        "lots in the wrong order",
        "ledger_svc/journal/load_store.py",
        "ORDER BY expires_at, earned_at, lot_id",
        "ORDER BY earned_at, expires_at, lot_id",
        f"{GUARDS}::test_what_expires_first_is_drawn_first",
        "assert [10, 10, 10] == [5, 10, 10]",
    ),
    Breakage(
        "commits that do not wait for the disk",
        "svckit/db.py",
        "-c synchronous_commit=on",
        "-c synchronous_commit=off",
        f"{GUARDS}::test_what_was_acknowledged_survives_a_crash_at_once",
        "assert [] == [('1',), ('2',), ('3',)]",
    ),
    Breakage(
        "locks in the order of the request",
        "ledger_svc/journal/load_store.py",
        "    columns = typed(LOCK, (*_columns(",
        "    for key in [key for want in wants for key in want.accounts]: await connection.execute("
        "'SELECT 1 FROM accounts WHERE program_id = %s AND owner = %s FOR UPDATE', (key.program_id, key.owner))\n"
        "    columns = typed(LOCK, (*_columns(",
        f"{GUARDS}::test_accounts_are_locked_in_one_order_whatever_the_request",
        "assert 1 == 0",
    ),
)


@pytest.mark.timeout(300 * TIMES)
async def test_every_breakage_is_found(tmp_path: Path) -> None:
    await check(tmp_path, CODE, BREAKAGES)
