"""Certificates of erasure."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute(_ERASURES)
    op.execute("GRANT SELECT, INSERT ON erasures TO identity_runtime")
    op.execute("GRANT DELETE ON member_keys, past_relations TO identity_runtime")


_ERASURES = """
CREATE TABLE erasures (
    program_id text NOT NULL,
    member_id text NOT NULL,
    certificate bytea NOT NULL,
    erased_at timestamptz NOT NULL,
    PRIMARY KEY (program_id, member_id)
)
"""
