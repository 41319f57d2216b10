"""The outbox in the order in which it is handed over."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("ALTER TABLE outbox DROP CONSTRAINT outbox_pkey, ADD PRIMARY KEY (program_id, created_at, event_id)")
