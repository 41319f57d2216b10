"""The tables of the catalog. Amounts are minor units of the reward's own currency."""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    MetaData,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY

from svckit.programs import Programs

metadata: Final = MetaData()
programs: Final = Programs(metadata)

catalogs: Final = Table(
    "catalogs",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False, comment="counts the changes of the program's rewards"),
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
)
