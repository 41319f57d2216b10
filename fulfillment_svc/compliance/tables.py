"""The tables of compliance."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Table,
    Text,
    Uuid,
)

from fulfillment_svc.tables import metadata

# Whoever decides about a recipient locks its row first.
recipients: Final = Table(
    "compliance_recipients",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("recipient", LargeBinary, primary_key=True, comment="a MAC of the mail address"),
)

checks: Final = Table(
    "compliance_checks",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("check_id", Uuid, primary_key=True, comment="the redemption's id"),
    Column("recipient", LargeBinary, nullable=False),
    Column("country", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("value_minor", BigInteger, nullable=False, comment="what counts: nothing of what is refused or given back"),
    Column("effect", Text, nullable=False),
    Column("reason", Text, nullable=False, comment="for operators only"),
    Column("at", DateTime(timezone=True), nullable=False, comment="in the program's time"),
    ForeignKeyConstraint(
        ["program_id", "recipient"],
        ["compliance_recipients.program_id", "compliance_recipients.recipient"],
        name="compliance_checks_recipient",
    ),
    CheckConstraint("effect IN ('ALLOW', 'HOLD', 'REFUSE')", name="compliance_checks_effect_known"),
    CheckConstraint("value_minor >= 0", name="compliance_checks_value_not_negative"),
    Index("compliance_checks_by_recipient", "program_id", "recipient", "currency", "at"),
)
