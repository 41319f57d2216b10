"""The tables of events, endpoints and deliveries."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from fulfillment_svc.tables import metadata

# Events without a member count in a sequence of their own, the one of the empty member id.
event_sequences: Final = Table(
    "event_sequences",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("member_id", Text, primary_key=True),
    Column("last", BigInteger, nullable=False, comment="the sequence number given last"),
)

# Append-only: the runtime role may not change or delete a row.
events: Final = Table(
    "events",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("event_id", Uuid, primary_key=True, comment="a UUIDv7, so its order is that of creation"),
    Column("type", Text, nullable=False),
    Column("member_id", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("payload", LargeBinary, nullable=False, comment="the exact bytes that are signed and sent"),
    Column("ingested_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("program_id", "member_id", "sequence", name="events_sequence_once"),
)

webhook_endpoints: Final = Table(
    "webhook_endpoints",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("endpoint_id", Uuid, primary_key=True),
    Column("url", Text, nullable=False),
    Column("event_types", ARRAY(Text), nullable=False, comment="empty: all"),
    Column("secret", LargeBinary, nullable=False, comment="sealed"),
    Column("active", Boolean, nullable=False),
    Column("quiet_until", DateTime(timezone=True), comment="the endpoint asked for a pause, in the program's time"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

webhook_deliveries: Final = Table(
    "webhook_deliveries",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("endpoint_id", Uuid, primary_key=True),
    Column("event_id", Uuid, primary_key=True),
    Column("status", Text, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("last_http_status", BigInteger, nullable=False, comment="0: there was no answer"),
    Column("due_at", DateTime(timezone=True), comment="of the next attempt, program's time; a claim leases by it"),
    Column("fencing_token", BigInteger, nullable=False, comment="counts the claims; a write needs the present one"),
    ForeignKeyConstraint(
        ["program_id", "endpoint_id"],
        ["webhook_endpoints.program_id", "webhook_endpoints.endpoint_id"],
        name="webhook_deliveries_endpoint",
    ),
    ForeignKeyConstraint(
        ["program_id", "event_id"], ["events.program_id", "events.event_id"], name="webhook_deliveries_event"
    ),
    CheckConstraint("status IN ('PENDING', 'DELIVERED', 'FAILED')", name="webhook_deliveries_status_known"),
    # So there is no delivery that nobody works on (R7).
    CheckConstraint("(due_at IS NULL) = (status <> 'PENDING')", name="webhook_deliveries_due_unless_ended"),
)
Index(
    "webhook_deliveries_by_due",
    webhook_deliveries.c.program_id,
    webhook_deliveries.c.endpoint_id,
    webhook_deliveries.c.due_at,
    postgresql_where=text("due_at IS NOT NULL"),
)
