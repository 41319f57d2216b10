"""How many units of a reservation were taken."""

from alembic import op

revision = "0004"
down_revision = "0003"

_CONSUMED = """
ALTER TABLE stock_reservations
    ADD COLUMN consumed bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT stock_reservations_consumed_of_quantity CHECK (consumed BETWEEN 0 AND quantity);
COMMENT ON COLUMN stock_reservations.consumed IS 'how many of them were taken';
UPDATE stock_reservations SET consumed = quantity WHERE state = 'CONSUMED';
"""


def upgrade() -> None:
    op.execute(_CONSUMED)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
