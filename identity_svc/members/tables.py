"""What is kept of members beside their rows: by what they are found, what they had, and merges and erasures."""

from typing import Any, Final

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Table,
    Text,
    Uuid,
    text,
)

from identity_svc.tables import metadata


def _at(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


# What a merge moved, so that it can be undone.
merges: Final = Table(
    "merges",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("merge_id", Uuid, primary_key=True),
    Column("survivor_id", Text, nullable=False),
    Column("merged_id", Text, nullable=False),
    Column("moved", LargeBinary, nullable=False, comment="JSON, under the merged member's key"),
    _at("merged_at"),
    _at("undone_at", nullable=True),
    Index("merges_in_force", "program_id", "merged_id", unique=True, postgresql_where=text("undone_at IS NULL")),
)

# One a member, those that were merged into it included; without personal data.
erasures: Final = Table(
    "erasures",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("member_id", Text, primary_key=True),
    Column("certificate", LargeBinary, nullable=False, comment="rewards.identity.v1.ErasureCertificate"),
    _at("erased_at"),
)

# Values that a member had and has no more, for its export; the key that opens them is the member's.
past_relations: Final = Table(
    "past_relations",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("member_id", Text, primary_key=True),
    Column("past_relation_id", Uuid, primary_key=True),
    Column("type", Text, nullable=False),
    Column("sealed_value", LargeBinary, nullable=False, comment="under the member's key"),
    _at("linked_at"),
    _at("unlinked_at"),
)

attribute_definitions: Final = Table(
    "attribute_definitions",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("required", Boolean, nullable=False),
    Column("unique", Boolean, nullable=False),
    Column("personal_data", Boolean, nullable=False),
    CheckConstraint("type IN ('STRING', 'NUMBER', 'BOOLEAN', 'LIST')", name="attribute_definitions_type_known"),
)

# By what a member is found. Every single value is here, defined or not, so that a definition can come later.
member_attributes: Final = Table(
    "member_attributes",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("member_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value_mac", LargeBinary, nullable=False, comment="HMAC-SHA256 under the program's key"),
    Column("unique", Boolean, nullable=False, comment="as the attribute's definition says"),
    Index("member_attributes_by_value", "program_id", "name", "value_mac", "member_id"),
    Index(
        "member_attributes_unique",
        "program_id",
        "name",
        "value_mac",
        unique=True,
        postgresql_where=text('"unique"'),
    ),
    ForeignKeyConstraint(
        ["program_id", "member_id"], ["members.program_id", "members.member_id"], name="member_attributes_member_exists"
    ),
)
