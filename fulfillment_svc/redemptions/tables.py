"""The tables of redemptions."""

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
    Uuid,
    false,
    func,
    text,
)

from fulfillment_svc.tables import metadata

_STATES: Final = (
    "'RESERVING', 'HOLDING_POINTS', 'HOLDING_FUNDING', 'SCREENING', 'DECLINING_FUNDING', 'DECLINING', "
    "'DECLINING_STOCK', 'HELD', 'ACCEPTED', 'CANCELLING_POINTS', 'CANCELLING_FUNDING', 'CANCELLING_STOCK', "
    "'CANCELLED', 'ORDERING', 'UNKNOWN', 'CAPTURING_POINTS', 'CAPTURING_FUNDING', 'CONSUMING', 'DELIVERING', "
    "'FULFILLED', 'PARTIALLY_FULFILLED', 'RELEASING_POINTS', 'RELEASING_FUNDING', 'RELEASING_STOCK', 'FAILED'"
)
_ENDED: Final = "'FULFILLED', 'PARTIALLY_FULFILLED', 'FAILED', 'CANCELLED'"
_REDEMPTION: Final = ["redemptions.program_id", "redemptions.redemption_id"]

redemptions: Final = Table(
    "redemptions",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("redemption_id", Uuid, primary_key=True, comment="also our reference at the provider"),
    Column("member_id", Text, nullable=False),
    Column("reward_id", Text, nullable=False),
    Column("reward_version", BigInteger, nullable=False),
    Column("reward_name", Text, nullable=False),
    Column("brand", Text, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("denomination_minor", BigInteger, nullable=False, comment="the face value of one item"),
    Column("currency", Text, nullable=False),
    Column("points", BigInteger, nullable=False, comment="for all items"),
    Column("fees_minor", BigInteger, nullable=False, server_default=text("0"), comment="for all items"),
    Column("kind", Text, nullable=False, server_default="", comment="the reward's; empty from before it was kept"),
    Column("country", Text, nullable=False, server_default="", comment="the recipient's; likewise"),
    Column("provider", Text, nullable=False, comment="chosen once; an unknown outcome is never routed anew"),
    Column("route", Text, nullable=False, server_default="", comment="why it is this provider"),
    Column("idempotency_key", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("traceparent", Text, nullable=False, comment="the request's trace, which the workers go on with"),
    Column("state", Text, nullable=False),
    Column("answer", Text, comment="the last one to this state's step"),
    Column("version", BigInteger, nullable=False),
    Column("reason", Text, nullable=False, comment="why it fails or waits for a person"),
    Column("refusal", LargeBinary, comment="google.rpc.Status, what the caller gets"),
    Column("points_hold_id", Uuid),
    Column("funding_hold_id", Uuid),
    Column("points_booked_at", DateTime(timezone=True), comment="when the ledger recorded their capture"),
    Column("funding_booked_at", DateTime(timezone=True), comment="likewise"),
    Column("sent_at", DateTime(timezone=True), comment="when the order last went out"),
    Column("attempts", BigInteger, nullable=False),
    Column("due_at", DateTime(timezone=True), comment="from when on a worker may take it: a lease lies in the future"),
    Column("fencing_token", BigInteger, nullable=False, comment="counts the claims; a write needs the present one"),
    Column(
        "leased",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="until due_at it is somebody's, and not only waiting",
    ),
    Column(
        "called",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="by the provider, since it was last asked",
    ),
    Column("cancel_key", Text, comment="the idempotency key of the call that has called it off"),
    Column("parked_at", DateTime(timezone=True), comment="since when it needs a person"),
    Column(
        "limited", Boolean, nullable=False, server_default=false(), comment="units of its reward's stock are put by"
    ),
    Column("order_id", Uuid, comment="of a claim, which takes its value from there"),
    Column(
        "payee",
        Text,
        nullable=False,
        server_default="",
        comment="of a claim: the MAC of the recipient's address, or the order's id",
    ),
    CheckConstraint(f"state IN ({_STATES})", name="redemptions_state_known"),
    CheckConstraint("(points > 0) = (order_id IS NULL)", name="redemptions_points_unless_claims"),
    CheckConstraint("quantity > 0 AND denomination_minor > 0", name="redemptions_value_positive"),
    # So there is no state that nobody works on (R7). One that has ended may be due, to be looked at again.
    CheckConstraint(f"due_at IS NOT NULL OR state IN ({_ENDED})", name="redemptions_due_unless_ended"),
    ForeignKeyConstraint(
        ["program_id", "order_id"], ["orders.program_id", "orders.order_id"], name="redemptions_order"
    ),
    Index(
        "redemptions_by_order",
        "program_id",
        "order_id",
        "redemption_id",
        postgresql_where=text("order_id IS NOT NULL"),
    ),
    Index("redemptions_by_member", "program_id", "member_id", "redemption_id"),
    # What a report shows of a period, in its order.
    Index(
        "redemptions_points_booked",
        "program_id",
        "points_booked_at",
        "redemption_id",
        postgresql_where=text("points_booked_at IS NOT NULL"),
    ),
    Index(
        "redemptions_funding_booked",
        "program_id",
        "funding_booked_at",
        "redemption_id",
        postgresql_where=text("funding_booked_at IS NOT NULL"),
    ),
    Index("redemptions_by_payee", "program_id", "payee", postgresql_where=text("order_id IS NOT NULL")),
    Index("redemptions_by_due", "due_at", "program_id", postgresql_where=text("due_at IS NOT NULL")),
    Index("redemptions_by_reference", "redemption_id"),
    Index("redemptions_parked", "parked_at", "program_id", postgresql_where=text("parked_at IS NOT NULL")),
)

items: Final = Table(
    "redemption_items",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("redemption_id", Uuid, primary_key=True),
    Column("number", BigInteger, primary_key=True, comment="from 1"),
    Column("code_masked", Text, nullable=False, comment="empty until the code is issued"),
    Column("issued", Boolean, comment="unknown before the provider's definite answer"),
    ForeignKeyConstraint(["program_id", "redemption_id"], _REDEMPTION, name="redemption_items_redemption"),
)

sealed: Final = Table(
    "redemption_secrets",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("redemption_id", Uuid, primary_key=True),
    Column("number", BigInteger, primary_key=True, comment="0 is the recipient, n the code of item n"),
    Column("key_id", Text, nullable=False, comment="the master key that wraps the data key"),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    ForeignKeyConstraint(["program_id", "redemption_id"], _REDEMPTION, name="redemption_secrets_redemption"),
    Index("redemption_secrets_by_key", "key_id", "program_id"),
)

# Append-only: the runtime role may not change or delete a row.
reveals: Final = Table(
    "redemption_reveals",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("redemption_id", Uuid, primary_key=True),
    Column("reveal_id", Uuid, primary_key=True),
    Column("actor", Text, nullable=False, comment="the credential that has seen the codes"),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    ForeignKeyConstraint(["program_id", "redemption_id"], _REDEMPTION, name="redemption_reveals_redemption"),
)

edges: Final = Table(
    "redemption_edges",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("redemption_id", Uuid, primary_key=True),
    Column("version", BigInteger, primary_key=True, comment="of the redemption after the edge"),
    Column("state", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("answer", Text, comment="the one that led here; none for the first"),
    Column("reason", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    ForeignKeyConstraint(["program_id", "redemption_id"], _REDEMPTION, name="redemption_edges_redemption"),
)
