"""Members that were merged into others, and what moved."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("ALTER TABLE members ADD COLUMN alias_of text")
    op.execute("CREATE INDEX members_aliases ON members (program_id, alias_of) WHERE alias_of IS NOT NULL")
    op.execute(_MERGES)
    op.execute("CREATE UNIQUE INDEX merges_in_force ON merges (program_id, merged_id) WHERE undone_at IS NULL")
    op.execute("GRANT UPDATE ON relations TO identity_runtime")
    op.execute("GRANT SELECT, INSERT, UPDATE (undone_at) ON merges TO identity_runtime")


_MERGES = """
CREATE TABLE merges (
    program_id text NOT NULL,
    merge_id uuid NOT NULL,
    survivor_id text NOT NULL,
    merged_id text NOT NULL,
    moved bytea NOT NULL,
    merged_at timestamptz NOT NULL,
    undone_at timestamptz,
    PRIMARY KEY (program_id, merge_id)
)
"""
