"""How much of the day's quota credentials have been handed out."""

from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, ForeignKeyConstraint, Table, Text

from identity_svc.tables import metadata

quotas: Final = Table(
    "quotas",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("credential_id", Text, primary_key=True),
    Column("day", Date, nullable=False, comment="the last UTC day on which something was handed out"),
    Column("leased", BigInteger, nullable=False, comment="what was handed out on that day"),
    CheckConstraint("leased >= 0", name="quotas_leased_not_negative"),
    ForeignKeyConstraint(
        ["program_id", "credential_id"],
        ["credentials.program_id", "credentials.credential_id"],
        name="quotas_credential_exists",
    ),
)
