"""Who is paid where no member is."""

from alembic import op

revision = "0011"
down_revision = "0010"

_PAYEES = """
ALTER TABLE redemptions ADD COLUMN payee text NOT NULL DEFAULT '';
COMMENT ON COLUMN redemptions.payee IS 'of a claim: the MAC of the recipient''s address, or the order''s id';
UPDATE redemptions SET payee = order_id::text WHERE order_id IS NOT NULL;
CREATE INDEX redemptions_by_payee ON redemptions (program_id, payee) WHERE order_id IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(_PAYEES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
