"""Synchronisations with providers, and what they changed."""

from alembic import op

revision = "0003"
down_revision = "0002"

_SYNCS = """
CREATE TABLE syncs (
    program_id text NOT NULL,
    sync_id uuid NOT NULL,
    provider text NOT NULL,
    dry_run boolean NOT NULL,
    force boolean NOT NULL,
    actor text NOT NULL,
    state text NOT NULL,
    lease bigint NOT NULL,
    due_at timestamptz NOT NULL,
    reason text NOT NULL,
    added bigint NOT NULL,
    changed bigint NOT NULL,
    withdrawn bigint NOT NULL,
    rejected bigint NOT NULL,
    unchanged bigint NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (program_id, sync_id),
    CONSTRAINT syncs_state_known CHECK (state IN ('RUNNING', 'DONE', 'REFUSED')),
    CONSTRAINT syncs_ended_unless_running CHECK ((ended_at IS NULL) = (state = 'RUNNING'))
);
CREATE UNIQUE INDEX syncs_one_at_a_time ON syncs (program_id, provider) WHERE state = 'RUNNING';
CREATE INDEX syncs_by_due ON syncs (due_at) WHERE state = 'RUNNING';
COMMENT ON COLUMN syncs.actor IS 'the operator''s credential';
COMMENT ON COLUMN syncs.lease IS 'counts the claims; an end needs the present one';
COMMENT ON COLUMN syncs.due_at IS 'from when on a worker may take it';

CREATE TABLE sync_changes (
    program_id text NOT NULL,
    sync_id uuid NOT NULL,
    reward_id text NOT NULL,
    action text NOT NULL,
    fields text[] NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (program_id, sync_id, reward_id),
    CONSTRAINT sync_changes_sync FOREIGN KEY (program_id, sync_id) REFERENCES syncs (program_id, sync_id)
);
COMMENT ON COLUMN sync_changes.reward_id IS 'or the place of an entry that has no id';

GRANT SELECT, INSERT, UPDATE ON syncs TO catalog_runtime;
GRANT SELECT, INSERT ON sync_changes TO catalog_runtime;
"""


def upgrade() -> None:
    op.execute(_SYNCS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
