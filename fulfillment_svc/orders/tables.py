"""The tables of orders. Amounts are minor units of the order's currency."""

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
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from fulfillment_svc.tables import metadata

orders: Final = Table(
    "orders",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("order_id", Uuid, primary_key=True),
    Column("value_minor", BigInteger, nullable=False),
    Column("fee_minor", BigInteger, nullable=False, comment="held with the value"),
    Column("currency", Text, nullable=False),
    Column("remaining_minor", BigInteger, nullable=False, comment="may still be claimed"),
    Column("redeemed_minor", BigInteger, nullable=False, comment="captured for claims"),
    Column("returned_minor", BigInteger, nullable=False, comment="given back to the funding"),
    Column("delivery", Text, nullable=False),
    Column("menu", LargeBinary, nullable=False, comment="rewards.catalog.v1.Menu; empty where there is a choice"),
    Column("choice", JSONB(none_as_null=True), comment="the one reward that the order names, as it was quoted"),
    Column("token_hash", LargeBinary, nullable=False),
    Column("expires_at", DateTime(timezone=True), comment="in the program's time; none if it does not run out"),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("traceparent", Text, nullable=False, comment="the request's trace, which the workers go on with"),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, comment="why it fails or waits for a person"),
    Column("refusal", LargeBinary, comment="google.rpc.Status, what the caller gets"),
    Column("hold_id", Uuid, comment="of all that is not captured; none before it is held and after all is captured"),
    Column("attempts", BigInteger, nullable=False),
    Column("due_at", DateTime(timezone=True), comment="from when on a worker may take it: a lease lies in the future"),
    Column("fencing_token", BigInteger, nullable=False, comment="counts the claims; a write needs the present one"),
    Column("parked_at", DateTime(timezone=True), comment="since when it needs a person; none if it does not"),
    CheckConstraint(
        "state IN ('HOLDING', 'INVITING', 'OPEN', 'REDEEMED', 'EXPIRING', 'EXPIRED', 'CANCELLING', 'CANCELLED',"
        " 'FAILING', 'FAILED')",
        name="orders_state_known",
    ),
    CheckConstraint("delivery IN ('EMAIL', 'LINK')", name="orders_delivery_known"),
    CheckConstraint("value_minor > 0 AND fee_minor >= 0", name="orders_value_positive"),
    # What is missing to the value is under way. So no race can take more out of an order than there is in it.
    CheckConstraint(
        "remaining_minor >= 0 AND redeemed_minor >= 0 AND returned_minor >= 0"
        " AND remaining_minor + redeemed_minor + returned_minor <= value_minor",
        name="orders_value_conserved",
    ),
    # One that is open waits for claims; in any other state that is no end somebody works on it (R7).
    CheckConstraint(
        "due_at IS NOT NULL OR state IN ('OPEN', 'REDEEMED', 'EXPIRED', 'CANCELLED', 'FAILED')",
        name="orders_due_unless_waiting",
    ),
    # Not unique: the program is not in it, and a token has too many bits for two to be the same.
    Index("orders_by_token", "token_hash"),
    Index("orders_by_due", "due_at", "program_id", postgresql_where=text("due_at IS NOT NULL")),
    Index("orders_parked", "parked_at", "program_id", postgresql_where=text("parked_at IS NOT NULL")),
    Index(
        "orders_by_expiry",
        "program_id",
        "expires_at",
        postgresql_where=text("state IN ('INVITING', 'OPEN') AND remaining_minor > 0 AND expires_at IS NOT NULL"),
    ),
)

secrets: Final = Table(
    "order_secrets",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("order_id", Uuid, primary_key=True),
    Column("key_id", Text, nullable=False, comment="the master key that wraps the data key"),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False, comment="the recipient and the link's token"),
    ForeignKeyConstraint(
        ["program_id", "order_id"], ["orders.program_id", "orders.order_id"], name="order_secrets_order"
    ),
    Index("order_secrets_by_key", "key_id", "program_id"),
)

# Append-only: the runtime role may not change or delete a row. An entry is made under the order's lock, at the time of
# the clock and not of the transaction, so the entries of one order follow each other.
history: Final = Table(
    "order_history",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("order_id", Uuid, primary_key=True),
    Column("entry_id", Uuid, primary_key=True),
    Column("state", Text, comment="of the order after an edge; none for an action"),
    Column("answer", Text, comment="the one that led there; none where no step's did"),
    Column("reason", Text),
    Column("action", Text, comment="a person's, at the review desk; none for an edge"),
    Column("actor", Text, comment="the operator's credential"),
    Column("evidence", Text),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    CheckConstraint("(state IS NULL) = (action IS NOT NULL)", name="order_history_edge_xor_action"),
    ForeignKeyConstraint(
        ["program_id", "order_id"], ["orders.program_id", "orders.order_id"], name="order_history_order"
    ),
)
