"""The table of operators' actions."""

from typing import Final

from sqlalchemy import BigInteger, Column, DateTime, ForeignKeyConstraint, Table, Text, Uuid, func

from fulfillment_svc.tables import metadata

actions: Final = Table(
    "review_actions",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("redemption_id", Uuid, primary_key=True),
    Column("action_id", Uuid, primary_key=True),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False, comment="the operator's credential"),
    Column("evidence", Text, nullable=False),
    Column("version", BigInteger, nullable=False, comment="of the redemption after the action"),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    ForeignKeyConstraint(
        ["program_id", "redemption_id"],
        ["redemptions.program_id", "redemptions.redemption_id"],
        name="review_actions_redemption",
    ),
)
