"""The tables of the catalog. Amounts are minor units of the reward's own currency."""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Table,
    Text,
    Uuid,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from svckit.programs import Programs

metadata: Final = MetaData()
programs: Final = Programs(metadata)

catalogs: Final = Table(
    "catalogs",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False, comment="counts the changes of the program's rewards"),
    Column(
        "rates",
        JSONB,
        nullable=False,
        server_default=text("'{}'::jsonb"),
        comment="currencies other than the program's own, each with the minor units and the points that they cost",
    ),
)


def _content() -> list[Column[Any]]:
    """What a version of a reward consists of, as both tables below have it.

    There are denominations or a range. Without prices the program's rate is the price.
    """
    return [
        Column("name", Text, nullable=False),
        Column("description", Text, nullable=False),
        Column("brand", Text, nullable=False),
        Column("category", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("countries", ARRAY(Text), nullable=False),
        Column("currency", Text, nullable=False),
        Column("denominations_minor", ARRAY(BigInteger), nullable=False),
        Column("range_min_minor", BigInteger),
        Column("range_max_minor", BigInteger),
        Column("range_step_minor", BigInteger),
        Column("price_denominations_minor", ARRAY(BigInteger), nullable=False),
        Column("price_points", ARRAY(BigInteger), nullable=False),
        Column("images", ARRAY(Text), nullable=False),
        Column("availability", Text, nullable=False),
        Column("terms", Text, nullable=False),
        Column("texts", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    ]


# Append-only: the runtime role may not change or delete a row.
reward_versions: Final = Table(
    "reward_versions",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("reward_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    *_content(),
    Column("stored_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

rewards: Final = Table(
    "rewards",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("reward_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    *_content(),
    Column("provider", Text, nullable=False, server_default="", comment="whose feed it is of; empty for an operator's"),
    Column("withdrawn", Boolean, nullable=False, server_default=false(), comment="by a person"),
    Column("search_text", Text, nullable=False, server_default="", comment="see catalog_svc.search"),
    Column("grams", ARRAY(BigInteger), nullable=False, server_default="{}", comment="see catalog_svc.search"),
    ForeignKeyConstraint(
        ["program_id", "reward_id", "version"],
        ["reward_versions.program_id", "reward_versions.reward_id", "reward_versions.version"],
        name="rewards_version_kept",
    ),
    CheckConstraint(
        "num_nonnulls(range_min_minor, range_max_minor, range_step_minor)"
        " = CASE WHEN cardinality(denominations_minor) = 0 THEN 3 ELSE 0 END",
        name="rewards_denominations_or_range",
    ),
    CheckConstraint(
        "range_min_minor > 0 AND range_step_minor > 0 AND range_min_minor <= range_max_minor"
        " AND (range_max_minor - range_min_minor) % range_step_minor = 0",
        name="rewards_range_whole",
    ),
    CheckConstraint(
        "cardinality(price_denominations_minor) = cardinality(price_points)",
        name="rewards_prices_paired",
    ),
    CheckConstraint(
        "availability IN ('AVAILABLE', 'OUT_OF_STOCK', 'WITHDRAWN')",
        name="rewards_availability_known",
    ),
    Index("rewards_by_gram", "grams", postgresql_using="gin"),
    Index("rewards_by_provider", "program_id", "provider", "reward_id"),
)

# Where each reward is listed: a row for each of its countries and one for "", which is anywhere.
reward_places: Final = Table(
    "reward_places",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("country", Text, primary_key=True),
    Column("reward_id", Text, primary_key=True),
    Column("brand", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("on_sale", Boolean, nullable=False, comment="not withdrawn"),
    ForeignKeyConstraint(
        ["program_id", "reward_id"], ["rewards.program_id", "rewards.reward_id"], name="reward_places_reward"
    ),
    Index("reward_places_by_reward", "program_id", "reward_id"),
    Index("reward_places_by_brand", "program_id", "country", "brand", "reward_id"),
    Index("reward_places_by_brand_folded", "program_id", "country", text("lower(brand)"), "reward_id"),
    Index("reward_places_by_category", "program_id", "country", "category", "reward_id"),
    Index("reward_places_by_currency", "program_id", "country", "currency", "reward_id"),
)

# Append-only, like the versions: who withdrew and restored what, and why.
withdrawals: Final = Table(
    "withdrawals",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("reward_id", Text, primary_key=True),
    Column("at", DateTime(timezone=True), primary_key=True, server_default=func.clock_timestamp()),
    Column("withdrawn", Boolean, nullable=False, comment="false where it was restored"),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False, comment="the operator's credential"),
    ForeignKeyConstraint(
        ["program_id", "reward_id"], ["rewards.program_id", "rewards.reward_id"], name="withdrawals_reward"
    ),
)

# What is limited; a reward without a row is not.
stocks: Final = Table(
    "stocks",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("reward_id", Text, primary_key=True),
    Column(
        "units", BigInteger, comment="those reserved among them; may be set below those; none: not limited any more"
    ),
    Column("reserved", BigInteger, nullable=False, comment="the sum of the reservations that hold"),
    ForeignKeyConstraint(
        ["program_id", "reward_id"], ["rewards.program_id", "rewards.reward_id"], name="stocks_reward"
    ),
    CheckConstraint("units >= 0 AND reserved >= 0", name="stocks_not_negative"),
)

reservations: Final = Table(
    "stock_reservations",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("reference", Text, primary_key=True, comment="the holder's own"),
    Column("reward_id", Text, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("expires_at", DateTime(timezone=True), comment="in the program's time; none if its holder ends it"),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("consumed", BigInteger, nullable=False, server_default=text("0"), comment="how many of them were taken"),
    ForeignKeyConstraint(
        ["program_id", "reward_id"], ["stocks.program_id", "stocks.reward_id"], name="stock_reservations_stock"
    ),
    CheckConstraint("state IN ('RESERVED', 'CONSUMED', 'RELEASED', 'EXPIRED')", name="stock_reservations_state_known"),
    CheckConstraint("quantity > 0", name="stock_reservations_quantity_positive"),
    CheckConstraint("consumed BETWEEN 0 AND quantity", name="stock_reservations_consumed_of_quantity"),
    Index(
        "stock_reservations_by_expiry",
        "program_id",
        "expires_at",
        postgresql_where=text("state = 'RESERVED' AND expires_at IS NOT NULL"),
    ),
)

syncs: Final = Table(
    "syncs",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("sync_id", Uuid, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("force", Boolean, nullable=False),
    Column("actor", Text, nullable=False, comment="the operator's credential"),
    Column("state", Text, nullable=False),
    Column("lease", BigInteger, nullable=False, comment="counts the claims; an end needs the present one"),
    Column("due_at", DateTime(timezone=True), nullable=False, comment="from when on a worker may take it"),
    Column("reason", Text, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in ("added", "changed", "withdrawn", "rejected", "unchanged")),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    CheckConstraint("state IN ('RUNNING', 'DONE', 'REFUSED')", name="syncs_state_known"),
    CheckConstraint("(ended_at IS NULL) = (state = 'RUNNING')", name="syncs_ended_unless_running"),
    Index("syncs_one_at_a_time", "program_id", "provider", unique=True, postgresql_where=text("state = 'RUNNING'")),
    Index("syncs_by_due", "due_at", postgresql_where=text("state = 'RUNNING'")),
)

sync_changes: Final = Table(
    "sync_changes",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("sync_id", Uuid, primary_key=True),
    Column("reward_id", Text, primary_key=True, comment="or the place of an entry that has no id"),
    Column("action", Text, nullable=False),
    Column("fields", ARRAY(Text), nullable=False),
    Column("reason", Text, nullable=False),
    ForeignKeyConstraint(["program_id", "sync_id"], ["syncs.program_id", "syncs.sync_id"], name="sync_changes_sync"),
)
