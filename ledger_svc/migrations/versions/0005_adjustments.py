"""Adjustments, with who asked for them and who approved, and when a transfer brought a lot."""

from alembic import op

revision = "0005"
down_revision = "0004"

_TABLE = """
CREATE TABLE adjustments (
    program_id text NOT NULL,
    adjustment_id uuid NOT NULL,
    member_id text NOT NULL,
    asset text NOT NULL,
    points bigint NOT NULL,
    reason_code text NOT NULL,
    ticket text NOT NULL,
    note text NOT NULL,
    effective_at timestamptz,
    expires_at timestamptz,
    alone_max bigint NOT NULL,
    state smallint NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    decided_by text NOT NULL,
    decided_at timestamptz,
    PRIMARY KEY (program_id, adjustment_id),
    CONSTRAINT adjustments_state_known CHECK (state IN (1, 2, 3)),
    CONSTRAINT adjustments_decided_at_a_time CHECK ((state = 1) = (decided_at IS NULL)),
    CONSTRAINT adjustments_over_the_limit_by_two
        CHECK (state <> 2 OR abs(points) <= alone_max OR decided_by NOT IN ('', created_by))
)
"""


def upgrade() -> None:
    op.execute("ALTER TABLE lots ADD COLUMN received_at timestamptz")
    op.execute(_TABLE)
    op.execute("CREATE INDEX adjustments_newest ON adjustments (program_id, created_at)")
    # Who asked for what never changes; only what became of it does.
    op.execute("GRANT SELECT, INSERT ON adjustments TO ledger_runtime")
    op.execute("GRANT UPDATE (state, decided_by, decided_at) ON adjustments TO ledger_runtime")
