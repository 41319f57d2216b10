"""Where rewards are listed, how they are found, translations, rates, withdrawals, stock."""

import sqlalchemy as sa
from alembic import op

from catalog_svc.search import grams, searchable

revision = "0002"
down_revision = "0001"

_COLUMNS = """
ALTER TABLE catalogs ADD COLUMN rates jsonb NOT NULL DEFAULT '{}';
ALTER TABLE reward_versions ADD COLUMN texts jsonb NOT NULL DEFAULT '[]';
ALTER TABLE rewards ADD COLUMN texts jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN provider text NOT NULL DEFAULT '',
    ADD COLUMN withdrawn boolean NOT NULL DEFAULT false,
    ADD COLUMN search_text text NOT NULL DEFAULT '',
    ADD COLUMN grams bigint[] NOT NULL DEFAULT '{}';
CREATE INDEX rewards_by_gram ON rewards USING gin (grams);
CREATE INDEX rewards_by_provider ON rewards (program_id, provider, reward_id);
COMMENT ON COLUMN catalogs.rates IS
    'currencies other than the program''s own, each with the minor units and the points that they cost';
COMMENT ON COLUMN rewards.provider IS 'whose feed it is of; empty for an operator''s';
COMMENT ON COLUMN rewards.withdrawn IS 'by a person';
COMMENT ON COLUMN rewards.search_text IS 'see catalog_svc.search';
COMMENT ON COLUMN rewards.grams IS 'see catalog_svc.search';
"""

_PLACES = """
CREATE TABLE reward_places (
    program_id text NOT NULL,
    country text NOT NULL,
    reward_id text NOT NULL,
    brand text NOT NULL,
    category text NOT NULL,
    currency text NOT NULL,
    on_sale boolean NOT NULL,
    PRIMARY KEY (program_id, country, reward_id),
    CONSTRAINT reward_places_reward FOREIGN KEY (program_id, reward_id) REFERENCES rewards (program_id, reward_id)
);
CREATE INDEX reward_places_by_reward ON reward_places (program_id, reward_id);
CREATE INDEX reward_places_by_brand ON reward_places (program_id, country, brand, reward_id);
CREATE INDEX reward_places_by_category ON reward_places (program_id, country, category, reward_id);
CREATE INDEX reward_places_by_currency ON reward_places (program_id, country, currency, reward_id);
COMMENT ON COLUMN reward_places.on_sale IS 'not withdrawn';
INSERT INTO reward_places
SELECT program_id, country, reward_id, brand, category, currency, availability <> 'WITHDRAWN'
FROM rewards, unnest(array_append(countries, '')) country;

CREATE TABLE withdrawals (
    program_id text NOT NULL,
    reward_id text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    withdrawn boolean NOT NULL,
    reason text NOT NULL,
    actor text NOT NULL,
    PRIMARY KEY (program_id, reward_id, at),
    CONSTRAINT withdrawals_reward FOREIGN KEY (program_id, reward_id) REFERENCES rewards (program_id, reward_id)
);
COMMENT ON COLUMN withdrawals.withdrawn IS 'false where it was restored';
COMMENT ON COLUMN withdrawals.actor IS 'the operator''s credential';
"""

_STOCK = """
CREATE TABLE stocks (
    program_id text NOT NULL,
    reward_id text NOT NULL,
    units bigint,
    reserved bigint NOT NULL,
    PRIMARY KEY (program_id, reward_id),
    CONSTRAINT stocks_reward FOREIGN KEY (program_id, reward_id) REFERENCES rewards (program_id, reward_id),
    CONSTRAINT stocks_not_negative CHECK (units >= 0 AND reserved >= 0)
);
CREATE TABLE stock_reservations (
    program_id text NOT NULL,
    reference text NOT NULL,
    reward_id text NOT NULL,
    quantity bigint NOT NULL,
    state text NOT NULL,
    expires_at timestamptz,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (program_id, reference),
    CONSTRAINT stock_reservations_stock FOREIGN KEY (program_id, reward_id) REFERENCES stocks (program_id, reward_id),
    CONSTRAINT stock_reservations_state_known CHECK (state IN ('RESERVED', 'CONSUMED', 'RELEASED', 'EXPIRED')),
    CONSTRAINT stock_reservations_quantity_positive CHECK (quantity > 0)
);
CREATE INDEX stock_reservations_by_expiry ON stock_reservations (program_id, expires_at)
    WHERE state = 'RESERVED' AND expires_at IS NOT NULL;
COMMENT ON COLUMN stocks.units IS 'those reserved among them; may be set below those; none: not limited any more';
COMMENT ON COLUMN stocks.reserved IS 'the sum of the reservations that hold';
COMMENT ON COLUMN stock_reservations.reference IS 'the holder''s own';
COMMENT ON COLUMN stock_reservations.expires_at IS 'in the program''s time; none if its holder ends it';
"""

_GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON reward_places TO catalog_runtime;
GRANT SELECT, INSERT ON withdrawals TO catalog_runtime;
GRANT SELECT, INSERT, UPDATE ON stocks, stock_reservations TO catalog_runtime;
"""


def upgrade() -> None:
    op.execute(_COLUMNS)
    op.execute(_PLACES)
    op.execute(_STOCK)
    op.execute(_GRANTS)
    _make_searchable()


def _make_searchable() -> None:
    connection = op.get_bind()
    fill = sa.text(
        "UPDATE rewards SET search_text = :search_text, grams = :grams"
        " WHERE program_id = :program_id AND reward_id = :reward_id"
    )
    for row in connection.execute(sa.text("SELECT program_id, reward_id, name, brand FROM rewards")).all():
        text = searchable((row.name, row.brand))
        found = {"search_text": text, "grams": grams(row.program_id, text)}
        connection.execute(fill, {"program_id": row.program_id, "reward_id": row.reward_id, **found})


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
