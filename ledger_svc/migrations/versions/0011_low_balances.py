"""Below what a program's funding is low, and whether it is."""

from alembic import op

revision = "0011"
down_revision = "0010"

_TABLE = """
CREATE TABLE low_balances (
    program_id text NOT NULL,
    currency text NOT NULL,
    threshold_minor bigint NOT NULL,
    low boolean NOT NULL,
    PRIMARY KEY (program_id, currency),
    CONSTRAINT low_balances_threshold_not_negative CHECK (threshold_minor >= 0)
)
"""


def upgrade() -> None:
    op.execute(_TABLE)
    op.execute("GRANT SELECT, INSERT, UPDATE ON low_balances TO ledger_runtime")
