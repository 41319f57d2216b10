"""Rewards and their versions, and the programs' settings."""

from alembic import op

revision = "0001"
down_revision = None

_CONTENT = """
    name text NOT NULL,
    description text NOT NULL,
    brand text NOT NULL,
    category text NOT NULL,
    kind text NOT NULL,
    countries text[] NOT NULL,
    currency text NOT NULL,
    denominations_minor bigint[] NOT NULL,
    range_min_minor bigint,
    range_max_minor bigint,
    range_step_minor bigint,
    price_denominations_minor bigint[] NOT NULL,
    price_points bigint[] NOT NULL,
    images text[] NOT NULL,
    availability text NOT NULL,
    terms text NOT NULL
"""

_PROGRAMS = """
CREATE TABLE programs (
    program_id text PRIMARY KEY,
    version bigint NOT NULL,
    settings bytea NOT NULL
);

CREATE TABLE catalogs (
    program_id text PRIMARY KEY,
    revision bigint NOT NULL
);
COMMENT ON COLUMN programs.settings IS 'rewards.identity.v1.Program';
COMMENT ON COLUMN catalogs.revision IS 'counts the changes of the program''s rewards';
"""

_REWARDS = f"""
CREATE TABLE reward_versions (
    program_id text NOT NULL,
    reward_id text NOT NULL,
    version bigint NOT NULL,
    {_CONTENT},
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (program_id, reward_id, version)
);

CREATE TABLE rewards (
    program_id text NOT NULL,
    reward_id text NOT NULL,
    version bigint NOT NULL,
    {_CONTENT},
    PRIMARY KEY (program_id, reward_id),
    CONSTRAINT rewards_version_kept FOREIGN KEY (program_id, reward_id, version)
        REFERENCES reward_versions (program_id, reward_id, version),
    CONSTRAINT rewards_denominations_or_range CHECK (
        num_nonnulls(range_min_minor, range_max_minor, range_step_minor)
        = CASE WHEN cardinality(denominations_minor) = 0 THEN 3 ELSE 0 END
    ),
    CONSTRAINT rewards_range_whole CHECK (
        range_min_minor > 0 AND range_step_minor > 0 AND range_min_minor <= range_max_minor
        AND (range_max_minor - range_min_minor) % range_step_minor = 0
    ),
    CONSTRAINT rewards_prices_paired CHECK (cardinality(price_denominations_minor) = cardinality(price_points)),
    CONSTRAINT rewards_availability_known CHECK (availability IN ('AVAILABLE', 'OUT_OF_STOCK', 'WITHDRAWN'))
);
"""

_GRANTS = """
GRANT SELECT, INSERT, UPDATE ON programs, catalogs, rewards TO catalog_runtime;
GRANT SELECT, INSERT ON reward_versions TO catalog_runtime;
"""


def upgrade() -> None:
    op.execute(_PROGRAMS)
    op.execute(_REWARDS)
    op.execute(_GRANTS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
