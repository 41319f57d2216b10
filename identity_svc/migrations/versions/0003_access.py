"""Partners of a program; rotation with an overlap; revocation of programs and partners."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(_LEVELS)
    op.execute(_ROTATION)
    op.execute(_PLANS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")


_LEVELS = """
ALTER TABLE programs ADD COLUMN revoked_at timestamptz;
CREATE TABLE partners (
    program_id text NOT NULL,
    partner_id text NOT NULL,
    name text NOT NULL,
    revoked_at timestamptz,
    PRIMARY KEY (program_id, partner_id),
    CONSTRAINT partners_program_exists FOREIGN KEY (program_id) REFERENCES programs (program_id)
);
ALTER TABLE credentials ADD COLUMN partner_id text;
ALTER TABLE credentials ADD CONSTRAINT credentials_partner_exists
    FOREIGN KEY (program_id, partner_id) REFERENCES partners (program_id, partner_id);
GRANT SELECT, INSERT, UPDATE ON partners TO identity_runtime;
"""

_ROTATION = """
ALTER TABLE credentials ADD COLUMN previous_mac bytea;
ALTER TABLE credentials ADD COLUMN previous_until timestamptz;
ALTER TABLE credentials ADD CONSTRAINT credentials_previous_ends
    CHECK ((previous_mac IS NULL) = (previous_until IS NULL));
"""

_PLANS = """
ALTER TABLE plans ADD COLUMN costs jsonb NOT NULL DEFAULT '{}'::jsonb;
"""
