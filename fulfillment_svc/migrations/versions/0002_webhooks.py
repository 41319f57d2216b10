"""Events, webhook endpoints and deliveries."""

from alembic import op

revision = "0002"
down_revision = "0001"

_EVENTS = """
CREATE TABLE event_sequences (
    program_id text NOT NULL,
    member_id text NOT NULL,
    last bigint NOT NULL,
    PRIMARY KEY (program_id, member_id)
);
COMMENT ON COLUMN event_sequences.last IS 'the sequence number given last';

CREATE TABLE events (
    program_id text NOT NULL,
    event_id uuid NOT NULL,
    type text NOT NULL,
    member_id text NOT NULL,
    sequence bigint NOT NULL,
    created_at timestamptz NOT NULL,
    payload bytea NOT NULL,
    ingested_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (program_id, event_id),
    CONSTRAINT events_sequence_once UNIQUE (program_id, member_id, sequence)
);
COMMENT ON COLUMN events.event_id IS 'a UUIDv7, so its order is that of creation';
COMMENT ON COLUMN events.payload IS 'the exact bytes that are signed and sent';
"""

_WEBHOOKS = """
CREATE TABLE webhook_endpoints (
    program_id text NOT NULL,
    endpoint_id uuid NOT NULL,
    url text NOT NULL,
    event_types text[] NOT NULL,
    secret bytea NOT NULL,
    active boolean NOT NULL,
    quiet_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (program_id, endpoint_id)
);
COMMENT ON COLUMN webhook_endpoints.event_types IS 'empty: all';
COMMENT ON COLUMN webhook_endpoints.secret IS 'sealed';
COMMENT ON COLUMN webhook_endpoints.quiet_until IS 'the endpoint asked for a pause, in the program''s time';

CREATE TABLE webhook_deliveries (
    program_id text NOT NULL,
    endpoint_id uuid NOT NULL,
    event_id uuid NOT NULL,
    status text NOT NULL,
    attempts bigint NOT NULL,
    last_http_status bigint NOT NULL,
    due_at timestamptz,
    fencing_token bigint NOT NULL,
    PRIMARY KEY (program_id, endpoint_id, event_id),
    CONSTRAINT webhook_deliveries_endpoint FOREIGN KEY (program_id, endpoint_id)
        REFERENCES webhook_endpoints (program_id, endpoint_id),
    CONSTRAINT webhook_deliveries_event FOREIGN KEY (program_id, event_id) REFERENCES events (program_id, event_id),
    CONSTRAINT webhook_deliveries_status_known CHECK (status IN ('PENDING', 'DELIVERED', 'FAILED')),
    CONSTRAINT webhook_deliveries_due_unless_ended CHECK ((due_at IS NULL) = (status <> 'PENDING'))
);
COMMENT ON COLUMN webhook_deliveries.last_http_status IS '0: there was no answer';
COMMENT ON COLUMN webhook_deliveries.due_at IS 'of the next attempt, program''s time; a claim leases by it';
COMMENT ON COLUMN webhook_deliveries.fencing_token IS 'counts the claims; a write needs the present one';
CREATE INDEX webhook_deliveries_by_due ON webhook_deliveries (program_id, endpoint_id, due_at)
    WHERE due_at IS NOT NULL;
"""

_GRANTS = """
GRANT SELECT, INSERT, UPDATE ON event_sequences, webhook_endpoints, webhook_deliveries TO fulfillment_runtime;
GRANT SELECT, INSERT ON events TO fulfillment_runtime;
"""


def upgrade() -> None:
    op.execute(_EVENTS)
    op.execute(_WEBHOOKS)
    op.execute(_GRANTS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
