"""Passwords, one-time codes, the letters that bring them, and what members have spent of their tries."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON passwords, otps, otp_letters, signin_spent TO identity_runtime")


_TABLES = """
CREATE TABLE passwords (
    program_id text NOT NULL,
    member_id text NOT NULL,
    sealed_hash bytea NOT NULL,
    PRIMARY KEY (program_id, member_id),
    CONSTRAINT passwords_member_exists
        FOREIGN KEY (program_id, member_id) REFERENCES members (program_id, member_id)
);
CREATE TABLE otps (
    program_id text NOT NULL,
    otp_id uuid NOT NULL,
    member_id text NOT NULL,
    code_mac bytea NOT NULL,
    void boolean NOT NULL,
    tries bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (program_id, otp_id),
    CONSTRAINT otps_tries_bounded CHECK (tries BETWEEN 0 AND 5)
);
CREATE INDEX otps_by_member ON otps (program_id, member_id);
CREATE TABLE otp_letters (
    program_id text NOT NULL,
    otp_id uuid NOT NULL,
    member_id text NOT NULL,
    sealed bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (program_id, otp_id)
);
CREATE TABLE signin_spent (
    program_id text NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    hour_at timestamptz NOT NULL,
    hour_count bigint NOT NULL,
    day_at timestamptz NOT NULL,
    day_count bigint NOT NULL,
    in_a_row bigint NOT NULL,
    PRIMARY KEY (program_id, kind, subject)
);
"""
