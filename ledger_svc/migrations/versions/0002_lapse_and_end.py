"""What ran out of a lot, when a hold ended, and indexes for the workers that post both."""

from alembic import op

revision = "0002"
down_revision = "0001"

_STATEMENTS = (
    "ALTER TABLE lots ADD COLUMN lapsed bigint NOT NULL DEFAULT 0",
    "ALTER TABLE holds ADD COLUMN ended_at timestamptz",
    "ALTER TABLE holds DROP CONSTRAINT holds_state_known",
    "ALTER TABLE holds ADD CONSTRAINT holds_state_known CHECK (state IN (1, 2, 3, 4))",
    "UPDATE holds SET ended_at = placed_at WHERE state <> 1",
    "ALTER TABLE holds ADD CONSTRAINT holds_end_with_a_state CHECK ((state = 1) = (ended_at IS NULL))",
    "CREATE INDEX holds_due ON holds (program_id, expires_at) WHERE state = 1",
    "CREATE INDEX lots_due ON lots (program_id, expires_at) WHERE open AND expires_at IS NOT NULL",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
