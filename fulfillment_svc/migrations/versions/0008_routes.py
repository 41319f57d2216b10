"""What a provider is chosen by, and why it was."""

from alembic import op

revision = "0008"
down_revision = "0007"

_REDEMPTIONS = """
ALTER TABLE redemptions
    ADD COLUMN kind text NOT NULL DEFAULT '',
    ADD COLUMN country text NOT NULL DEFAULT '',
    ADD COLUMN route text NOT NULL DEFAULT '';
COMMENT ON COLUMN redemptions.kind IS 'the reward''s; empty from before it was kept';
COMMENT ON COLUMN redemptions.country IS 'the recipient''s; likewise';
COMMENT ON COLUMN redemptions.route IS 'why it is this provider';
"""


def upgrade() -> None:
    op.execute(_REDEMPTIONS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
