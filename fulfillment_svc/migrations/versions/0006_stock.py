"""Redemptions that have units of a stock put by."""

from alembic import op

revision = "0006"
down_revision = "0005"

_STOCK = """
ALTER TABLE redemptions
    ADD COLUMN limited boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT redemptions_state_known,
    ADD CONSTRAINT redemptions_state_known CHECK (state IN (
        'RESERVING', 'HOLDING_POINTS', 'HOLDING_FUNDING', 'DECLINING', 'DECLINING_STOCK', 'ACCEPTED',
        'CANCELLING_POINTS', 'CANCELLING_FUNDING', 'CANCELLING_STOCK', 'CANCELLED', 'ORDERING', 'UNKNOWN',
        'CAPTURING_POINTS', 'CAPTURING_FUNDING', 'CONSUMING', 'DELIVERING', 'FULFILLED', 'PARTIALLY_FULFILLED',
        'RELEASING_POINTS', 'RELEASING_FUNDING', 'RELEASING_STOCK', 'FAILED'));
COMMENT ON COLUMN redemptions.limited IS 'units of its reward''s stock are put by';
"""


def upgrade() -> None:
    op.execute(_STOCK)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
