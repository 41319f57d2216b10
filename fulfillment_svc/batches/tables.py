"""The tables of batches."""

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
    UniqueConstraint,
    Uuid,
    text,
)

from fulfillment_svc.tables import metadata

batches: Final = Table(
    "order_batches",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("batch_id", Uuid, primary_key=True),
    Column("state", Text, nullable=False),
    Column("size", BigInteger, nullable=False, comment="how many items it has"),
    Column("succeeded", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("committed_at", DateTime(timezone=True)),
    Column("completed_at", DateTime(timezone=True)),
    Column("traceparent", Text, nullable=False, comment="the commit's trace, which the workers go on with"),
    Column("attempts", BigInteger, nullable=False, comment="tries since an item was decided"),
    Column("due_at", DateTime(timezone=True), comment="from when on a worker may take it: a lease lies in the future"),
    Column("fencing_token", BigInteger, nullable=False, comment="counts the claims; a write needs the present one"),
    CheckConstraint("state IN ('OPEN', 'RUNNING', 'COMPLETED')", name="order_batches_state_known"),
    CheckConstraint(
        "succeeded >= 0 AND failed >= 0 AND succeeded + failed <= size AND size <= 10000", name="order_batches_counted"
    ),
    # What runs has items that are not decided, and a worker that comes to it (R7).
    CheckConstraint("(due_at IS NOT NULL) = (state = 'RUNNING')", name="order_batches_due_while_running"),
    CheckConstraint(
        "CASE state WHEN 'OPEN' THEN succeeded + failed = 0 WHEN 'RUNNING' THEN succeeded + failed < size"
        " ELSE succeeded + failed = size END",
        name="order_batches_state_agrees",
    ),
    Index("order_batches_by_due", "due_at", "program_id", postgresql_where=text("due_at IS NOT NULL")),
)

items: Final = Table(
    "order_batch_items",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("batch_id", Uuid, primary_key=True),
    Column("number", BigInteger, primary_key=True, comment="from 1, as appended"),
    Column("item_key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False, comment="of the CreateOrderRequest"),
    Column("key_id", Text, nullable=False, comment="the master key that wraps the data key"),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False, comment="rewards.fulfillment.v1.CreateOrderRequest"),
    Column("state", Text, nullable=False),
    Column("round", BigInteger, nullable=False, comment="counts the commits that have taken it up; part of its key"),
    Column("attempts", BigInteger, nullable=False, comment="tries of this round; the others go first"),
    Column("order_id", Uuid),
    Column("reason", Text, nullable=False, comment="the refusal's"),
    Column("refusal", LargeBinary, comment="google.rpc.Status"),
    UniqueConstraint("program_id", "batch_id", "item_key", name="order_batch_items_key"),
    CheckConstraint(
        "CASE state WHEN 'PENDING' THEN order_id IS NULL AND refusal IS NULL AND reason = ''"
        " WHEN 'SUCCEEDED' THEN order_id IS NOT NULL AND refusal IS NULL AND reason = ''"
        " WHEN 'FAILED' THEN order_id IS NULL AND refusal IS NOT NULL AND reason <> '' ELSE false END",
        name="order_batch_items_state_agrees",
    ),
    ForeignKeyConstraint(
        ["program_id", "batch_id"],
        ["order_batches.program_id", "order_batches.batch_id"],
        name="order_batch_items_batch",
    ),
    Index(
        "order_batch_items_pending",
        "program_id",
        "batch_id",
        "attempts",
        "number",
        postgresql_where=text("state = 'PENDING'"),
    ),
    Index("order_batch_items_by_key", "key_id", "program_id"),
)
