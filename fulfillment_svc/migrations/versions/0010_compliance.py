"""Compliance checks, and the states in which a redemption is checked or waits for a person's decision."""

from alembic import op

revision = "0010"
down_revision = "0009"

_CHECKS = """
CREATE TABLE compliance_recipients (
    program_id text NOT NULL,
    recipient bytea NOT NULL,
    PRIMARY KEY (program_id, recipient)
);
COMMENT ON COLUMN compliance_recipients.recipient IS 'a MAC of the mail address';
CREATE TABLE compliance_checks (
    program_id text NOT NULL,
    check_id uuid NOT NULL,
    recipient bytea NOT NULL,
    country text NOT NULL,
    currency text NOT NULL,
    value_minor bigint NOT NULL,
    effect text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (program_id, check_id),
    CONSTRAINT compliance_checks_recipient FOREIGN KEY (program_id, recipient)
        REFERENCES compliance_recipients (program_id, recipient),
    CONSTRAINT compliance_checks_effect_known CHECK (effect IN ('ALLOW', 'HOLD', 'REFUSE')),
    CONSTRAINT compliance_checks_value_not_negative CHECK (value_minor >= 0)
);
COMMENT ON COLUMN compliance_checks.check_id IS 'the redemption''s id';
COMMENT ON COLUMN compliance_checks.value_minor IS 'what counts: nothing of what is refused or given back';
COMMENT ON COLUMN compliance_checks.reason IS 'for operators only';
COMMENT ON COLUMN compliance_checks.at IS 'in the program''s time';
CREATE INDEX compliance_checks_by_recipient ON compliance_checks (program_id, recipient, currency, at);
"""

# A row is locked by SELECT FOR UPDATE, which needs the right to update it.
_GRANTS = "GRANT SELECT, INSERT, UPDATE ON compliance_recipients, compliance_checks TO fulfillment_runtime;"

_STATES = """
ALTER TABLE redemptions
    DROP CONSTRAINT redemptions_state_known,
    ADD CONSTRAINT redemptions_state_known CHECK (state IN (
        'RESERVING', 'HOLDING_POINTS', 'HOLDING_FUNDING', 'SCREENING', 'DECLINING_FUNDING', 'DECLINING',
        'DECLINING_STOCK', 'HELD', 'ACCEPTED', 'CANCELLING_POINTS', 'CANCELLING_FUNDING', 'CANCELLING_STOCK',
        'CANCELLED', 'ORDERING', 'UNKNOWN', 'CAPTURING_POINTS', 'CAPTURING_FUNDING', 'CONSUMING', 'DELIVERING',
        'FULFILLED', 'PARTIALLY_FULFILLED', 'RELEASING_POINTS', 'RELEASING_FUNDING', 'RELEASING_STOCK', 'FAILED'));
"""


def upgrade() -> None:
    op.execute(_CHECKS)
    op.execute(_GRANTS)
    op.execute(_STATES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
