"""What is paid on a redemption beside its face value."""

from alembic import op

revision = "0010"
down_revision = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE redemptions ADD COLUMN fees_minor bigint NOT NULL DEFAULT 0")
    op.execute("COMMENT ON COLUMN redemptions.fees_minor IS 'for all items'")
