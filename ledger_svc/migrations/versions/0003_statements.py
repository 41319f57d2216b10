"""Statements: what was held on an account as of an instant is found by index."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("CREATE INDEX holds_of_account ON holds (program_id, account_id, ended_at)")
