"""A program's policy: how value behaves in it."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # With a default, so that the code of before this migration goes on working.
    op.execute("ALTER TABLE programs ADD COLUMN policy bytea NOT NULL DEFAULT ''::bytea")
