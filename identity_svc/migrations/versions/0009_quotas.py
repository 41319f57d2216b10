"""What is handed out of each credential's daily quota."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute(_QUOTAS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")


_QUOTAS = """
CREATE TABLE quotas (
    program_id text NOT NULL,
    credential_id text NOT NULL,
    day date NOT NULL,
    leased bigint NOT NULL,
    PRIMARY KEY (program_id, credential_id),
    CONSTRAINT quotas_leased_not_negative CHECK (leased >= 0),
    CONSTRAINT quotas_credential_exists
        FOREIGN KEY (program_id, credential_id) REFERENCES credentials (program_id, credential_id)
);
GRANT SELECT, INSERT, UPDATE ON quotas TO identity_runtime;
"""
