"""What became of the transactions of a batch."""

from alembic import op

revision = "0010"
down_revision = "0009"

_TABLE = """
CREATE TABLE transaction_batches (
    program_id text NOT NULL,
    batch_id uuid NOT NULL,
    mode smallint NOT NULL,
    created_at timestamptz NOT NULL,
    keys text[] NOT NULL,
    statuses smallint[] NOT NULL,
    replays boolean[] NOT NULL,
    refusals bytea[] NOT NULL,
    PRIMARY KEY (program_id, batch_id),
    CONSTRAINT transaction_batches_mode_known CHECK (mode IN (1, 2, 3)),
    CONSTRAINT transaction_batches_of_one_length CHECK (
        cardinality(keys) > 0 AND cardinality(statuses) = cardinality(keys)
        AND cardinality(replays) = cardinality(keys) AND cardinality(refusals) = cardinality(keys))
)
"""


def upgrade() -> None:
    op.execute(_TABLE)
    # A batch is posted before it is told, so nothing of it ever changes.
    op.execute("GRANT SELECT, INSERT ON transaction_batches TO ledger_runtime")
