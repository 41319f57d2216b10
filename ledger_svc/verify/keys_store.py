"""The checks of keys, of what the schema and the role allow, and of the server's settings (D1, L4, L6, D3)."""

from typing import Final

from ledger_svc.verify.check import TRANSACTION, Check

# The id that a kept answer begins with: field 1, 36 characters; null if it does not begin with one.
_NAMED: Final = r"""
WITH answers AS (
    SELECT program_id, operation, created_at, operation = ANY (%(placing)s::text[]) AS hold, CASE
        WHEN substring(body FOR 2) = '\x0a24'::bytea THEN encode(substring(body FROM 3 FOR 36), 'escape') END AS id
    FROM idempotency_keys WHERE state = %(done)s AND operation = ANY (%(naming)s::text[])),
named AS (
    SELECT program_id, operation, created_at, hold,
        CASE WHEN pg_input_is_valid(id, 'uuid') THEN id::uuid END AS transaction_id FROM answers)"""

KEYS: Final = (
    Check(
        "D1",
        "a key that is done names what it did",
        "idempotency_keys",
        # An earning that is taken back after all of it was gone names nothing.
        _NAMED  # noqa: S608 - both parts are constants
        + """
SELECT n.program_id, n.transaction_id, n.operation, n.created_at FROM named n
WHERE NOT (n.operation = 'ReverseTransaction' AND n.transaction_id IS NULL) AND NOT EXISTS (
    SELECT FROM (
        SELECT program_id, transaction_id, false AS hold FROM entries
        UNION ALL SELECT program_id, transaction_id, false FROM events
        UNION ALL SELECT program_id, batch_id, false FROM transaction_batches
        UNION ALL SELECT program_id, hold_id, true FROM holds) done
    WHERE done.program_id = n.program_id AND done.transaction_id = n.transaction_id AND done.hold = n.hold)""",
        TRANSACTION + "a key of {operation} at {created_at} names it, and it does not exist",
    ),
    Check(
        "D1",
        "no two keys did the same thing",
        "idempotency_keys",
        _NAMED
        + """
SELECT program_id, transaction_id, count(*) AS keys FROM named WHERE transaction_id IS NOT NULL
GROUP BY program_id, transaction_id, hold HAVING count(*) > 1""",
        TRANSACTION + "{keys} keys say that they made it",
    ),
    Check(
        "D1",
        "a batch has a key, and so has each of its items that succeeded",
        "transaction_batches",
        _NAMED
        + """
SELECT b.program_id, b.batch_id, i.key FROM transaction_batches b
CROSS JOIN unnest(b.keys, b.statuses) AS i (key, status)
LEFT JOIN named n ON n.program_id = b.program_id AND n.operation = 'InsertTransactionBatch'
    AND n.transaction_id = b.batch_id
LEFT JOIN idempotency_keys k ON k.program_id = b.program_id AND k.operation = 'InsertTransactionData' AND k.key = i.key
    AND k.state = %(done)s
WHERE n.transaction_id IS NULL OR (i.status = %(succeeded)s AND k.key IS NULL)""",
        "program {program_id}, batch {batch_id}: it has no key, or its item {key} has none",
    ),
)

SERVER: Final = (
    Check(
        "L4",
        "history is append-only for this role",
        "pg_roles WHERE rolname = current_user",
        """
SELECT current_user AS role, string_agg(privilege, ', ') AS privileges, name
FROM unnest(ARRAY['entries', 'lot_uses', 'events', 'rules', 'transaction_batches']) AS name
CROSS JOIN unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS privilege
WHERE has_table_privilege(current_user, name, privilege)
    OR (privilege = 'UPDATE' AND has_any_column_privilege(current_user, name, privilege)) GROUP BY name""",
        "role {role} has {privileges} on {name}",
    ),
    Check(
        "L6",
        "no column is an int4",
        "pg_attribute",
        """
SELECT c.relname AS name, a.attname AS column FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace IN ('public'::regnamespace, 'audit'::regnamespace) AND a.attnum > 0
    AND a.atttypid = 'int4'::regtype""",
        "{name}.{column} is an int4",
    ),
    Check(
        "D3",
        "what is acknowledged is on disk",
        "pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')",
        """
SELECT name, setting FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting NOT IN ('on', 'remote_apply')""",
        "{name} is {setting}",
    ),
)
