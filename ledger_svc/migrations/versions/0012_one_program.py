"""Have statements planned as if every row were of one program.

They are planned once for all programs. By the average a program would have few rows, and reading all of them would
seem cheaper than looking each up; for the one with most of the rows every posting would then read it as a whole.
"""

from alembic import op

revision = "0012"
down_revision = "0011"

_TABLES = [
    "accounts",
    "adjustments",
    "entries",
    "events",
    "holds",
    "idempotency_keys",
    "lot_uses",
    "lots",
    "low_balances",
    "members",
    "outbox",
    "reversals",
    "rules",
    "transaction_batches",
]


def upgrade() -> None:
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN program_id SET (n_distinct = 1)")
