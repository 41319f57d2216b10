"""Programs, idempotency keys, and redemptions with their items, secrets and history."""

from alembic import op

revision = "0001"
down_revision = None

_SHARED = """
CREATE TABLE programs (
    program_id text PRIMARY KEY,
    version bigint NOT NULL,
    settings bytea NOT NULL
);
COMMENT ON COLUMN programs.settings IS 'rewards.identity.v1.Program';
CREATE TABLE idempotency_keys (
    program_id text NOT NULL,
    operation text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    state smallint NOT NULL,
    body bytea NOT NULL,
    secret_body bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (program_id, operation, key)
);
CREATE INDEX idempotency_keys_secrets ON idempotency_keys (program_id, created_at) WHERE secret_body IS NOT NULL;
COMMENT ON COLUMN idempotency_keys.secret_body IS 'the answer with its secrets, wiped after 15 minutes';
"""

_REDEMPTIONS = """
CREATE TABLE redemptions (
    program_id text NOT NULL,
    redemption_id uuid NOT NULL,
    member_id text NOT NULL,
    reward_id text NOT NULL,
    reward_version bigint NOT NULL,
    reward_name text NOT NULL,
    brand text NOT NULL,
    quantity bigint NOT NULL,
    denomination_minor bigint NOT NULL,
    currency text NOT NULL,
    points bigint NOT NULL,
    provider text NOT NULL,
    idempotency_key text NOT NULL,
    created_at timestamptz NOT NULL,
    traceparent text NOT NULL,
    state text NOT NULL,
    answer text,
    version bigint NOT NULL,
    reason text NOT NULL,
    refusal bytea,
    points_hold_id uuid,
    funding_hold_id uuid,
    sent_at timestamptz,
    attempts bigint NOT NULL,
    due_at timestamptz,
    fencing_token bigint NOT NULL,
    PRIMARY KEY (program_id, redemption_id),
    CONSTRAINT redemptions_state_known CHECK (state IN (
        'HOLDING_POINTS', 'HOLDING_FUNDING', 'DECLINING', 'ACCEPTED', 'ORDERING', 'UNKNOWN', 'CAPTURING_POINTS',
        'CAPTURING_FUNDING', 'DELIVERING', 'FULFILLED', 'RELEASING_POINTS', 'RELEASING_FUNDING', 'FAILED')),
    CONSTRAINT redemptions_points_positive CHECK (points > 0),
    CONSTRAINT redemptions_value_positive CHECK (quantity > 0 AND denomination_minor > 0),
    CONSTRAINT redemptions_due_unless_ended CHECK ((due_at IS NULL) = (state IN ('FULFILLED', 'FAILED')))
);
COMMENT ON COLUMN redemptions.redemption_id IS 'also our reference at the provider';
COMMENT ON COLUMN redemptions.denomination_minor IS 'the face value of one item';
COMMENT ON COLUMN redemptions.points IS 'for all items';
COMMENT ON COLUMN redemptions.provider IS 'chosen once; an unknown outcome is never routed anew';
COMMENT ON COLUMN redemptions.traceparent IS 'the request''s trace, which the workers go on with';
COMMENT ON COLUMN redemptions.answer IS 'the last one to this state''s step';
COMMENT ON COLUMN redemptions.reason IS 'why it fails or waits for a person';
COMMENT ON COLUMN redemptions.refusal IS 'google.rpc.Status, what the caller gets';
COMMENT ON COLUMN redemptions.sent_at IS 'when the order last went out';
COMMENT ON COLUMN redemptions.due_at IS 'from when on a worker may take it: a lease lies in the future';
COMMENT ON COLUMN redemptions.fencing_token IS 'counts the claims; a write needs the present one';
CREATE INDEX redemptions_by_member ON redemptions (program_id, member_id, redemption_id);
CREATE INDEX redemptions_by_due ON redemptions (due_at, program_id) WHERE due_at IS NOT NULL;

CREATE TABLE redemption_items (
    program_id text NOT NULL,
    redemption_id uuid NOT NULL,
    number bigint NOT NULL,
    code_masked text NOT NULL,
    PRIMARY KEY (program_id, redemption_id, number),
    CONSTRAINT redemption_items_redemption FOREIGN KEY (program_id, redemption_id)
        REFERENCES redemptions (program_id, redemption_id)
);
COMMENT ON COLUMN redemption_items.number IS 'from 1';
COMMENT ON COLUMN redemption_items.code_masked IS 'empty until the code is issued';

CREATE TABLE redemption_secrets (
    program_id text NOT NULL,
    redemption_id uuid NOT NULL,
    number bigint NOT NULL,
    key_id text NOT NULL,
    wrapped_key bytea NOT NULL,
    ciphertext bytea NOT NULL,
    PRIMARY KEY (program_id, redemption_id, number),
    CONSTRAINT redemption_secrets_redemption FOREIGN KEY (program_id, redemption_id)
        REFERENCES redemptions (program_id, redemption_id)
);
COMMENT ON COLUMN redemption_secrets.number IS '0 is the recipient, n the code of item n';
COMMENT ON COLUMN redemption_secrets.key_id IS 'the master key that wraps the data key';

CREATE TABLE redemption_edges (
    program_id text NOT NULL,
    redemption_id uuid NOT NULL,
    version bigint NOT NULL,
    state text NOT NULL,
    status text NOT NULL,
    answer text,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (program_id, redemption_id, version),
    CONSTRAINT redemption_edges_redemption FOREIGN KEY (program_id, redemption_id)
        REFERENCES redemptions (program_id, redemption_id)
);
COMMENT ON COLUMN redemption_edges.version IS 'of the redemption after the edge';
COMMENT ON COLUMN redemption_edges.answer IS 'the one that led here; none for the first';
"""

# A key is deleted only while its first call runs, and only if that is refused in a way that does not bind.
_GRANTS = """
GRANT SELECT, INSERT, UPDATE ON programs, redemptions, redemption_items, redemption_secrets TO fulfillment_runtime;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO fulfillment_runtime;
GRANT SELECT, INSERT ON redemption_edges TO fulfillment_runtime;
"""


def upgrade() -> None:
    op.execute(_SHARED)
    op.execute(_REDEMPTIONS)
    op.execute(_GRANTS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
