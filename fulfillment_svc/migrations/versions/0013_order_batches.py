"""Batches of orders."""

from alembic import op

revision = "0013"
down_revision = "0012"

_BATCHES = """
CREATE TABLE order_batches (
    program_id text NOT NULL,
    batch_id uuid NOT NULL,
    state text NOT NULL,
    size bigint NOT NULL,
    succeeded bigint NOT NULL,
    failed bigint NOT NULL,
    created_at timestamptz NOT NULL,
    committed_at timestamptz,
    completed_at timestamptz,
    traceparent text NOT NULL,
    attempts bigint NOT NULL,
    due_at timestamptz,
    fencing_token bigint NOT NULL,
    PRIMARY KEY (program_id, batch_id),
    CONSTRAINT order_batches_state_known CHECK (state IN ('OPEN', 'RUNNING', 'COMPLETED')),
    CONSTRAINT order_batches_counted CHECK (
        succeeded >= 0 AND failed >= 0 AND succeeded + failed <= size AND size <= 10000),
    CONSTRAINT order_batches_due_while_running CHECK ((due_at IS NOT NULL) = (state = 'RUNNING')),
    CONSTRAINT order_batches_state_agrees CHECK (CASE state WHEN 'OPEN' THEN succeeded + failed = 0
        WHEN 'RUNNING' THEN succeeded + failed < size ELSE succeeded + failed = size END)
);
COMMENT ON COLUMN order_batches.size IS 'how many items it has';
COMMENT ON COLUMN order_batches.traceparent IS 'the commit''s trace, which the workers go on with';
COMMENT ON COLUMN order_batches.attempts IS 'tries since an item was decided';
COMMENT ON COLUMN order_batches.due_at IS 'from when on a worker may take it: a lease lies in the future';
COMMENT ON COLUMN order_batches.fencing_token IS 'counts the claims; a write needs the present one';
CREATE INDEX order_batches_by_due ON order_batches (due_at, program_id) WHERE due_at IS NOT NULL;
GRANT SELECT, INSERT, UPDATE ON order_batches TO fulfillment_runtime;

CREATE TABLE order_batch_items (
    program_id text NOT NULL,
    batch_id uuid NOT NULL,
    number bigint NOT NULL,
    item_key text NOT NULL,
    fingerprint bytea NOT NULL,
    key_id text NOT NULL,
    wrapped_key bytea NOT NULL,
    ciphertext bytea NOT NULL,
    state text NOT NULL,
    round bigint NOT NULL,
    attempts bigint NOT NULL,
    order_id uuid,
    reason text NOT NULL,
    refusal bytea,
    PRIMARY KEY (program_id, batch_id, number),
    CONSTRAINT order_batch_items_key UNIQUE (program_id, batch_id, item_key),
    CONSTRAINT order_batch_items_state_agrees CHECK (CASE state
        WHEN 'PENDING' THEN order_id IS NULL AND refusal IS NULL AND reason = ''
        WHEN 'SUCCEEDED' THEN order_id IS NOT NULL AND refusal IS NULL AND reason = ''
        WHEN 'FAILED' THEN order_id IS NULL AND refusal IS NOT NULL AND reason <> '' ELSE false END),
    CONSTRAINT order_batch_items_batch FOREIGN KEY (program_id, batch_id)
        REFERENCES order_batches (program_id, batch_id)
);
COMMENT ON COLUMN order_batch_items.number IS 'from 1, as appended';
COMMENT ON COLUMN order_batch_items.fingerprint IS 'of the CreateOrderRequest';
COMMENT ON COLUMN order_batch_items.key_id IS 'the master key that wraps the data key';
COMMENT ON COLUMN order_batch_items.ciphertext IS 'rewards.fulfillment.v1.CreateOrderRequest';
COMMENT ON COLUMN order_batch_items.round IS 'counts the commits that have taken it up; part of its key';
COMMENT ON COLUMN order_batch_items.attempts IS 'tries of this round; the others go first';
COMMENT ON COLUMN order_batch_items.reason IS 'the refusal''s';
COMMENT ON COLUMN order_batch_items.refusal IS 'google.rpc.Status';
CREATE INDEX order_batch_items_pending ON order_batch_items (program_id, batch_id, attempts, number)
    WHERE state = 'PENDING';
CREATE INDEX order_batch_items_by_key ON order_batch_items (key_id, program_id);
GRANT SELECT, INSERT, UPDATE ON order_batch_items TO fulfillment_runtime;
"""


def upgrade() -> None:
    op.execute(_BATCHES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
