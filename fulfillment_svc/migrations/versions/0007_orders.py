"""Orders for recipients, whose claims are redemptions that cost no points."""

from alembic import op

revision = "0007"
down_revision = "0006"

_ORDERS = """
CREATE TABLE orders (
    program_id text NOT NULL,
    order_id uuid NOT NULL,
    value_minor bigint NOT NULL,
    fee_minor bigint NOT NULL,
    currency text NOT NULL,
    remaining_minor bigint NOT NULL,
    redeemed_minor bigint NOT NULL,
    returned_minor bigint NOT NULL,
    delivery text NOT NULL,
    menu bytea NOT NULL,
    choice jsonb,
    token_hash bytea NOT NULL,
    expires_at timestamptz,
    created_at timestamptz NOT NULL,
    idempotency_key text NOT NULL,
    traceparent text NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    refusal bytea,
    hold_id uuid,
    attempts bigint NOT NULL,
    due_at timestamptz,
    fencing_token bigint NOT NULL,
    PRIMARY KEY (program_id, order_id),
    CONSTRAINT orders_state_known CHECK (state IN ('HOLDING', 'INVITING', 'OPEN', 'REDEEMED', 'EXPIRING', 'EXPIRED',
        'CANCELLING', 'CANCELLED', 'FAILING', 'FAILED')),
    CONSTRAINT orders_delivery_known CHECK (delivery IN ('EMAIL', 'LINK')),
    CONSTRAINT orders_value_positive CHECK (value_minor > 0 AND fee_minor >= 0),
    CONSTRAINT orders_value_conserved CHECK (remaining_minor >= 0 AND redeemed_minor >= 0 AND returned_minor >= 0
        AND remaining_minor + redeemed_minor + returned_minor <= value_minor),
    CONSTRAINT orders_due_unless_waiting CHECK (
        due_at IS NOT NULL OR state IN ('OPEN', 'REDEEMED', 'EXPIRED', 'CANCELLED', 'FAILED'))
);
COMMENT ON COLUMN orders.fee_minor IS 'held with the value';
COMMENT ON COLUMN orders.remaining_minor IS 'may still be claimed';
COMMENT ON COLUMN orders.redeemed_minor IS 'captured for claims';
COMMENT ON COLUMN orders.returned_minor IS 'given back to the funding';
COMMENT ON COLUMN orders.menu IS 'rewards.catalog.v1.Menu; empty where there is a choice';
COMMENT ON COLUMN orders.choice IS 'the one reward that the order names, as it was quoted';
COMMENT ON COLUMN orders.expires_at IS 'in the program''s time; none if it does not run out';
COMMENT ON COLUMN orders.traceparent IS 'the request''s trace, which the workers go on with';
COMMENT ON COLUMN orders.reason IS 'why it fails or waits for a person';
COMMENT ON COLUMN orders.refusal IS 'google.rpc.Status, what the caller gets';
COMMENT ON COLUMN orders.hold_id IS 'of all that is not captured; none before it is held and after all is captured';
COMMENT ON COLUMN orders.due_at IS 'from when on a worker may take it: a lease lies in the future';
COMMENT ON COLUMN orders.fencing_token IS 'counts the claims; a write needs the present one';
CREATE INDEX orders_by_token ON orders (token_hash);
CREATE INDEX orders_by_due ON orders (due_at, program_id) WHERE due_at IS NOT NULL;
CREATE INDEX orders_by_expiry ON orders (program_id, expires_at)
    WHERE state IN ('INVITING', 'OPEN') AND remaining_minor > 0 AND expires_at IS NOT NULL;
GRANT SELECT, INSERT, UPDATE ON orders TO fulfillment_runtime;

CREATE TABLE order_secrets (
    program_id text NOT NULL,
    order_id uuid NOT NULL,
    key_id text NOT NULL,
    wrapped_key bytea NOT NULL,
    ciphertext bytea NOT NULL,
    PRIMARY KEY (program_id, order_id),
    CONSTRAINT order_secrets_order FOREIGN KEY (program_id, order_id) REFERENCES orders (program_id, order_id)
);
COMMENT ON COLUMN order_secrets.key_id IS 'the master key that wraps the data key';
COMMENT ON COLUMN order_secrets.ciphertext IS 'the recipient and the link''s token';
CREATE INDEX order_secrets_by_key ON order_secrets (key_id, program_id);
GRANT SELECT, INSERT, UPDATE ON order_secrets TO fulfillment_runtime;
"""

_CLAIMS = """
ALTER TABLE redemptions
    ADD COLUMN order_id uuid,
    DROP CONSTRAINT redemptions_points_positive,
    ADD CONSTRAINT redemptions_points_unless_claims CHECK ((points > 0) = (order_id IS NULL)),
    ADD CONSTRAINT redemptions_order FOREIGN KEY (program_id, order_id) REFERENCES orders (program_id, order_id);
COMMENT ON COLUMN redemptions.order_id IS 'of a claim, which takes its value from there';
CREATE INDEX redemptions_by_order ON redemptions (program_id, order_id, redemption_id) WHERE order_id IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(_ORDERS)
    op.execute(_CLAIMS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
