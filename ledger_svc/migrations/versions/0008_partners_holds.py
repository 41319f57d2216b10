"""Who placed a hold: a saga's is not a partner's to end."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("ALTER TABLE holds ADD COLUMN partner boolean NOT NULL DEFAULT false")
