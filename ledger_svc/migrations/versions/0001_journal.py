"""The journal: members, accounts, entries, lots, holds, rules, events, keys and the outbox."""

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE accounts (
    program_id text NOT NULL,
    account_id bigint NOT NULL,
    owner_kind smallint NOT NULL,
    owner text NOT NULL,
    asset text NOT NULL,
    posted bigint NOT NULL,
    held bigint NOT NULL,
    version bigint NOT NULL,
    last_at timestamptz,
    PRIMARY KEY (program_id, account_id),
    CONSTRAINT accounts_one_per_owner_and_asset UNIQUE (program_id, owner_kind, owner, asset),
    CONSTRAINT accounts_held_not_negative CHECK (held >= 0),
    CONSTRAINT accounts_funding_not_overdrawn CHECK (owner_kind = 1 OR posted >= held)
);
CREATE TABLE entries (
    program_id text NOT NULL,
    account_id bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    version bigint NOT NULL,
    transaction_id uuid NOT NULL,
    kind smallint NOT NULL,
    category smallint NOT NULL,
    amount bigint NOT NULL,
    balance_after bigint NOT NULL,
    effective_at timestamptz NOT NULL,
    reverses uuid,
    reason text NOT NULL,
    PRIMARY KEY (program_id, account_id, recorded_at),
    CONSTRAINT entries_once_per_transaction UNIQUE (program_id, transaction_id, account_id),
    CONSTRAINT entries_amount_not_zero CHECK (amount <> 0)
);
CREATE INDEX entries_reversals ON entries (program_id, reverses) WHERE reverses IS NOT NULL;
CREATE TABLE events (
    program_id text NOT NULL,
    event_id text NOT NULL,
    transaction_id uuid NOT NULL,
    member_id text NOT NULL,
    type text NOT NULL,
    amount_minor bigint,
    currency text NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    points bigint NOT NULL,
    PRIMARY KEY (program_id, event_id)
);
CREATE TABLE holds (
    program_id text NOT NULL,
    hold_id uuid NOT NULL,
    account_id bigint NOT NULL,
    amount bigint NOT NULL,
    state smallint NOT NULL,
    expires_at timestamptz,
    placed_at timestamptz NOT NULL,
    PRIMARY KEY (program_id, hold_id),
    CONSTRAINT holds_state_known CHECK (state IN (1, 2, 3))
);
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
CREATE TABLE lot_uses (
    program_id text NOT NULL,
    transaction_id uuid NOT NULL,
    position smallint NOT NULL,
    lot_id uuid NOT NULL,
    amount bigint NOT NULL,
    PRIMARY KEY (program_id, transaction_id, position)
);
CREATE TABLE lots (
    program_id text NOT NULL,
    account_id bigint NOT NULL,
    lot_id uuid NOT NULL,
    earned_at timestamptz NOT NULL,
    expires_at timestamptz,
    original bigint NOT NULL,
    remaining bigint NOT NULL,
    open boolean NOT NULL,
    PRIMARY KEY (program_id, account_id, lot_id),
    CONSTRAINT lots_remaining_in_range CHECK (remaining >= 0 AND remaining <= original),
    CONSTRAINT lots_open_while_any_remain CHECK (open = (remaining > 0))
);
CREATE INDEX lots_open_in_burn_order ON lots (program_id, account_id, expires_at, earned_at, lot_id) WHERE open;
CREATE TABLE members (
    program_id text NOT NULL,
    member_id text NOT NULL,
    active boolean NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (program_id, member_id)
);
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
CREATE TABLE programs (
    program_id text NOT NULL,
    version bigint NOT NULL,
    settings bytea NOT NULL,
    PRIMARY KEY (program_id)
);
CREATE TABLE reversals (
    program_id text NOT NULL,
    transaction_id uuid NOT NULL,
    amount bigint NOT NULL,
    reversed bigint NOT NULL,
    PRIMARY KEY (program_id, transaction_id),
    CONSTRAINT reversals_not_over_the_original CHECK (reversed > 0 AND reversed <= amount)
);
CREATE TABLE rules (
    program_id text NOT NULL,
    rule_id text NOT NULL,
    version bigint NOT NULL,
    event_type text NOT NULL,
    points_numerator bigint NOT NULL,
    points_denominator bigint NOT NULL,
    PRIMARY KEY (program_id, rule_id, version),
    CONSTRAINT rules_rate_positive CHECK (points_numerator > 0 AND points_denominator > 0)
);
"""

# Entries, lot uses, events and rule versions are append-only for the service: a correction is a new row.
_GRANTS = """
GRANT SELECT, INSERT, UPDATE ON accounts, holds, idempotency_keys, lots, members, outbox_leases, programs, reversals
    TO ledger_runtime;
GRANT SELECT, INSERT ON entries, events, lot_uses, rules TO ledger_runtime;
GRANT SELECT, INSERT, DELETE ON outbox TO ledger_runtime;
"""


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute("ALTER TABLE accounts SET (fillfactor = 70)")
    op.execute("ALTER TABLE lots SET (fillfactor = 80)")
    op.execute(_GRANTS)
