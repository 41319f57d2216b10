"""What operators have done at the review desk."""

from alembic import op

revision = "0004"
down_revision = "0003"

_ACTIONS = """
CREATE TABLE review_actions (
    program_id text NOT NULL,
    redemption_id uuid NOT NULL,
    action_id uuid NOT NULL,
    action text NOT NULL,
    actor text NOT NULL,
    evidence text NOT NULL,
    version bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (program_id, redemption_id, action_id),
    CONSTRAINT review_actions_redemption FOREIGN KEY (program_id, redemption_id)
        REFERENCES redemptions (program_id, redemption_id)
);
COMMENT ON COLUMN review_actions.actor IS 'the operator''s credential';
COMMENT ON COLUMN review_actions.version IS 'of the redemption after the action';
GRANT SELECT, INSERT ON review_actions TO fulfillment_runtime;
"""


def upgrade() -> None:
    op.execute(_ACTIONS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
