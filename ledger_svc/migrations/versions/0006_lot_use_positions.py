"""A debit may draw from more lots than a smallint counts."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE lot_uses ALTER COLUMN position TYPE bigint")
