"""What is paid on a redemption beside its face value, and when the ledger recorded that it was paid."""

from alembic import op

revision = "0009"
down_revision = "0008"

_COLUMNS = """
ALTER TABLE redemptions
    ADD COLUMN fees_minor bigint NOT NULL DEFAULT 0,
    ADD COLUMN points_booked_at timestamptz,
    ADD COLUMN funding_booked_at timestamptz
"""


def upgrade() -> None:
    op.execute(_COLUMNS)
    op.execute("COMMENT ON COLUMN redemptions.fees_minor IS 'for all items'")
    for what in ("points", "funding"):
        op.execute(f"""
CREATE INDEX redemptions_{what}_booked ON redemptions (program_id, {what}_booked_at, redemption_id)
WHERE {what}_booked_at IS NOT NULL""")
