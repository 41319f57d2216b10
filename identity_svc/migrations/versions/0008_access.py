"""Partners of a program; rotation with an overlap; revocation of programs and partners."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute(_LEVELS)
    op.execute(_ROTATION)
    op.execute(_PLANS)
    op.execute(_OAUTH)


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

_OAUTH = """
ALTER TABLE credentials ALTER COLUMN secret_mac DROP NOT NULL;
ALTER TABLE credentials ADD COLUMN public_keys text;
ALTER TABLE credentials ADD CONSTRAINT credentials_have_one_proof
    CHECK ((secret_mac IS NULL) = (public_keys IS NOT NULL) AND (public_keys IS NULL OR kind = 'CLIENT'));
CREATE TABLE revoked_tokens (
    program_id text NOT NULL,
    token_id uuid NOT NULL,
    ends_at timestamptz NOT NULL,
    PRIMARY KEY (program_id, token_id)
);
CREATE INDEX revoked_tokens_by_end ON revoked_tokens (ends_at);
CREATE TABLE used_assertions (
    program_id text NOT NULL,
    credential_id text NOT NULL,
    assertion_id text NOT NULL,
    ends_at timestamptz NOT NULL,
    PRIMARY KEY (program_id, credential_id, assertion_id),
    CONSTRAINT used_assertions_credential_exists
        FOREIGN KEY (program_id, credential_id) REFERENCES credentials (program_id, credential_id)
);
CREATE INDEX used_assertions_by_end ON used_assertions (ends_at);
ALTER TABLE signing_keys ADD COLUMN retired_at timestamptz;
GRANT SELECT, INSERT, DELETE ON revoked_tokens, used_assertions TO identity_runtime;
GRANT UPDATE ON signing_keys TO identity_runtime;
"""
