"""Redemptions that end in part or called off, leases apart from pauses, and since when one needs a person."""

from alembic import op

revision = "0003"
down_revision = "0002"

_REDEMPTIONS = """
ALTER TABLE redemptions
    ADD COLUMN leased boolean NOT NULL DEFAULT false,
    ADD COLUMN called boolean NOT NULL DEFAULT false,
    ADD COLUMN cancel_key text,
    ADD COLUMN parked_at timestamptz,
    DROP CONSTRAINT redemptions_state_known,
    DROP CONSTRAINT redemptions_due_unless_ended,
    ADD CONSTRAINT redemptions_state_known CHECK (state IN (
        'HOLDING_POINTS', 'HOLDING_FUNDING', 'DECLINING', 'ACCEPTED', 'CANCELLING_POINTS', 'CANCELLING_FUNDING',
        'CANCELLED', 'ORDERING', 'UNKNOWN', 'CAPTURING_POINTS', 'CAPTURING_FUNDING', 'DELIVERING', 'FULFILLED',
        'PARTIALLY_FULFILLED', 'RELEASING_POINTS', 'RELEASING_FUNDING', 'FAILED')),
    ADD CONSTRAINT redemptions_due_unless_ended CHECK (
        due_at IS NOT NULL OR state IN ('FULFILLED', 'PARTIALLY_FULFILLED', 'FAILED', 'CANCELLED'));
COMMENT ON COLUMN redemptions.leased IS 'until due_at it is somebody''s, and not only waiting';
COMMENT ON COLUMN redemptions.called IS 'by the provider, since it was last asked';
COMMENT ON COLUMN redemptions.cancel_key IS 'the idempotency key of the call that has called it off';
COMMENT ON COLUMN redemptions.parked_at IS 'since when it needs a person';
CREATE INDEX redemptions_by_reference ON redemptions (redemption_id);
CREATE INDEX redemptions_parked ON redemptions (parked_at, program_id) WHERE parked_at IS NOT NULL;

ALTER TABLE redemption_items ADD COLUMN issued boolean;
COMMENT ON COLUMN redemption_items.issued IS 'unknown before the provider''s definite answer';
"""

_BEFORE = """
UPDATE redemptions SET parked_at = now()
    WHERE state = 'UNKNOWN' OR (answer = 'REFUSED' AND state NOT IN ('FULFILLED', 'FAILED'));
UPDATE redemption_items SET issued = true WHERE code_masked <> '';
"""


def upgrade() -> None:
    op.execute(_REDEMPTIONS)
    op.execute(_BEFORE)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
