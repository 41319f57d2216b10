"""Since when an order needs a person, and what happened to it. One that is parked already gets there when its step is
refused the next time, which is within a minute."""

from alembic import op

revision = "0012"
down_revision = "0011"

_PARKED = """
ALTER TABLE orders ADD COLUMN parked_at timestamptz;
COMMENT ON COLUMN orders.parked_at IS 'since when it needs a person; none if it does not';
CREATE INDEX orders_parked ON orders (parked_at, program_id) WHERE parked_at IS NOT NULL;
"""

_HISTORY = """
CREATE TABLE order_history (
    program_id text NOT NULL,
    order_id uuid NOT NULL,
    entry_id uuid NOT NULL,
    state text,
    answer text,
    reason text,
    action text,
    actor text,
    evidence text,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (program_id, order_id, entry_id),
    CONSTRAINT order_history_order FOREIGN KEY (program_id, order_id) REFERENCES orders (program_id, order_id),
    CONSTRAINT order_history_edge_xor_action CHECK ((state IS NULL) = (action IS NOT NULL))
);
COMMENT ON COLUMN order_history.state IS 'of the order after an edge; none for an action';
COMMENT ON COLUMN order_history.answer IS 'the one that led there; none where no step''s did';
COMMENT ON COLUMN order_history.action IS 'a person''s, at the review desk; none for an edge';
COMMENT ON COLUMN order_history.actor IS 'the operator''s credential';
GRANT SELECT, INSERT ON order_history TO fulfillment_runtime;
"""


def upgrade() -> None:
    op.execute(_PARKED)
    op.execute(_HISTORY)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
