"""How a program shows itself."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    # With a default, so that the code of before this migration goes on working.
    op.execute("ALTER TABLE programs ADD COLUMN branding bytea NOT NULL DEFAULT ''::bytea")
