"""Members that were merged into others."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("ALTER TABLE members ADD COLUMN alias_of text")
    op.execute("CREATE INDEX members_aliases ON members (program_id, member_id) WHERE alias_of IS NOT NULL")
