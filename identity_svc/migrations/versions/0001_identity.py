"""Programs, credentials, tokens, members and the audit trail."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(_PLATFORM)
    op.execute(_CREDENTIALS)
    op.execute(_MEMBERS)
    op.execute(_MECHANISM)
    op.execute(_GRANTS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")


_PLATFORM = """
CREATE TABLE audit (
    program_id text NOT NULL,
    audit_id uuid NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    request_id text NOT NULL,
    PRIMARY KEY (program_id, audit_id)
);
CREATE TABLE programs (
    program_id text PRIMARY KEY,
    name text NOT NULL,
    mode text NOT NULL,
    time_zone text NOT NULL,
    currency text NOT NULL,
    asset text NOT NULL,
    points_per_unit bigint NOT NULL,
    clock_offset_s bigint NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT programs_mode_known CHECK (mode IN ('SANDBOX', 'LIVE')),
    CONSTRAINT programs_points_per_unit_positive CHECK (points_per_unit > 0),
    CONSTRAINT programs_live_clock_is_real CHECK (mode = 'SANDBOX' OR clock_offset_s = 0),
    CONSTRAINT programs_version_positive CHECK (version > 0)
);
CREATE TABLE plans (
    plan_id text PRIMARY KEY,
    requests_per_second bigint NOT NULL,
    burst bigint NOT NULL,
    requests_per_day bigint NOT NULL,
    CONSTRAINT plans_limits_positive CHECK (requests_per_second > 0 AND burst > 0 AND requests_per_day > 0)
);
"""

_CREDENTIALS = """
CREATE TABLE credentials (
    program_id text NOT NULL,
    credential_id text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    secret_mac bytea NOT NULL,
    scopes text[] NOT NULL,
    plan_id text,
    epoch bigint NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    PRIMARY KEY (program_id, credential_id),
    CONSTRAINT credentials_kind_known CHECK (kind IN ('CLIENT', 'API_KEY', 'OPERATOR')),
    CONSTRAINT credentials_operators_have_no_program CHECK ((kind = 'OPERATOR') = (program_id = '')),
    CONSTRAINT credentials_partners_have_a_plan CHECK (kind = 'OPERATOR' OR plan_id IS NOT NULL),
    CONSTRAINT credentials_epoch_positive CHECK (epoch > 0)
);
CREATE INDEX credentials_by_id ON credentials (credential_id);
CREATE TABLE tokens (
    program_id text NOT NULL,
    credential_id text NOT NULL,
    scope text NOT NULL,
    epoch bigint NOT NULL,
    token_id uuid NOT NULL,
    key_id text NOT NULL,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (program_id, credential_id, scope),
    CONSTRAINT tokens_credential_exists
        FOREIGN KEY (program_id, credential_id) REFERENCES credentials (program_id, credential_id)
);
CREATE TABLE signing_keys (
    generation bigint PRIMARY KEY,
    key_id text NOT NULL,
    sealed_key bytea NOT NULL,
    created_at timestamptz NOT NULL
);
"""

_MEMBERS = """
CREATE TABLE members (
    program_id text NOT NULL,
    member_id text NOT NULL,
    status text NOT NULL,
    version bigint NOT NULL,
    standing_version bigint NOT NULL,
    synced_version bigint NOT NULL,
    attributes bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (program_id, member_id),
    CONSTRAINT members_status_known
        CHECK (status IN ('ACTIVE', 'SUSPENDED', 'LOGIN_BLOCKED', 'CANCELLED', 'MEMBERSHIP_BLOCKED')),
    CONSTRAINT members_versions_ordered
        CHECK (synced_version <= standing_version AND standing_version <= version)
);
CREATE INDEX members_not_synced ON members (program_id, member_id) WHERE synced_version < standing_version;
CREATE TABLE member_keys (
    program_id text NOT NULL,
    member_id text NOT NULL,
    wrapped_key bytea NOT NULL,
    PRIMARY KEY (program_id, member_id),
    CONSTRAINT member_keys_member_exists
        FOREIGN KEY (program_id, member_id) REFERENCES members (program_id, member_id)
);
CREATE TABLE relations (
    program_id text NOT NULL,
    type text NOT NULL,
    value_mac bytea NOT NULL,
    member_id text NOT NULL,
    sealed_value bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (program_id, type, value_mac),
    CONSTRAINT relations_member_exists
        FOREIGN KEY (program_id, member_id) REFERENCES members (program_id, member_id)
);
CREATE INDEX relations_by_member ON relations (program_id, member_id);
"""

_MECHANISM = """
CREATE TABLE idempotency_keys (
    program_id text NOT NULL,
    operation text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    state smallint NOT NULL,
    body bytea NOT NULL,
    secret_body bytea,
    created_at timestamptz DEFAULT now() NOT NULL,
    PRIMARY KEY (program_id, operation, key)
);
CREATE INDEX idempotency_keys_secrets ON idempotency_keys (program_id, created_at) WHERE secret_body IS NOT NULL;
CREATE TABLE outbox (
    program_id text NOT NULL,
    event_id uuid NOT NULL,
    type text NOT NULL,
    member_id text NOT NULL,
    created_at timestamptz NOT NULL,
    data text NOT NULL,
    PRIMARY KEY (program_id, event_id)
);
CREATE TABLE outbox_leases (
    program_id text NOT NULL,
    holder uuid NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (program_id)
);
"""

# The audit trail can be added to and read, and by this role nothing else. A program, a plan or a credential
# is never deleted: what it did stays explained.
_GRANTS = """
GRANT SELECT, INSERT ON audit, signing_keys, member_keys, relations TO identity_runtime;
GRANT SELECT, INSERT, UPDATE ON programs, plans, credentials, members TO identity_runtime;
GRANT SELECT, INSERT, UPDATE ON idempotency_keys, outbox_leases TO identity_runtime;
GRANT SELECT, INSERT, UPDATE, DELETE ON tokens TO identity_runtime;
GRANT SELECT, INSERT, DELETE ON outbox TO identity_runtime;
"""
