"""Who has seen codes, and a way to find what lies under an old master key."""

from alembic import op

revision = "0005"
down_revision = "0004"

_REVEALS = """
CREATE TABLE redemption_reveals (
    program_id text NOT NULL,
    redemption_id uuid NOT NULL,
    reveal_id uuid NOT NULL,
    actor text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (program_id, redemption_id, reveal_id),
    CONSTRAINT redemption_reveals_redemption FOREIGN KEY (program_id, redemption_id)
        REFERENCES redemptions (program_id, redemption_id)
);
COMMENT ON COLUMN redemption_reveals.actor IS 'the credential that has seen the codes';
GRANT SELECT, INSERT ON redemption_reveals TO fulfillment_runtime;

CREATE INDEX redemption_secrets_by_key ON redemption_secrets (key_id, program_id);
"""


def upgrade() -> None:
    op.execute(_REVEALS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
