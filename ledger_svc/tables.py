"""The ledger's tables. A tenant's key leads every key (design decision 5); entries are append-only."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from svckit import idempotency
from svckit.outbox import Outbox
from svckit.programs import Programs

metadata = MetaData()
keys = idempotency.table(metadata)
programs = Programs(metadata)
outbox = Outbox(metadata)


def _at(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


members = Table(
    "members",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("member_id", Text, primary_key=True),
    Column("active", Boolean, nullable=False),
    Column("version", BigInteger, nullable=False, comment="identity_svc's; an older one never overwrites"),
    Column("alias_of", Text, comment="the member it was merged into, which may be an alias itself"),
    # A batch asks whether its members are aliases, and mostly none of a program is.
    Index("members_aliases", "program_id", "member_id", postgresql_where=text("alias_of IS NOT NULL")),
)

accounts = Table(
    "accounts",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("account_id", BigInteger, primary_key=True, autoincrement=False, comment="random, made in Python"),
    Column("owner_kind", SmallInteger, nullable=False),
    Column("owner", Text, nullable=False, comment="member_id, or the currency of prepaid funding"),
    Column("asset", Text, nullable=False),
    Column("posted", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False, comment="number of entries"),
    _at("last_at", nullable=True),
    UniqueConstraint("program_id", "owner_kind", "owner", "asset", name="accounts_one_per_owner_and_asset"),
    CheckConstraint("held >= 0", name="accounts_held_not_negative"),
    CheckConstraint("owner_kind = 1 OR posted >= held", name="accounts_funding_not_overdrawn"),
)

entries = Table(
    "entries",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("account_id", BigInteger, primary_key=True, autoincrement=False),
    Column("recorded_at", DateTime(timezone=True), primary_key=True, comment="strictly increasing per account"),
    Column("version", BigInteger, nullable=False, comment="gap-free per account"),
    Column("transaction_id", Uuid, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("category", SmallInteger, nullable=False),
    Column("amount", BigInteger, nullable=False, comment="its counter-entry is implied by the kind"),
    Column("balance_after", BigInteger, nullable=False),
    _at("effective_at"),
    Column("reverses", Uuid),
    Column("reason", Text, nullable=False),
    UniqueConstraint("program_id", "transaction_id", "account_id", name="entries_once_per_transaction"),
    CheckConstraint("amount <> 0", name="entries_amount_not_zero"),
)
# A reversal is looked up by what it reverses; few entries are one.
Index(
    "entries_reversals",
    entries.c.program_id,
    entries.c.reverses,
    postgresql_where=entries.c.reverses.is_not(None),
)

lots = Table(
    "lots",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("account_id", BigInteger, primary_key=True, autoincrement=False),
    Column("lot_id", Uuid, primary_key=True, comment="the transaction that brought the points"),
    _at("earned_at"),
    _at("expires_at", nullable=True),
    Column("received_at", DateTime(timezone=True), comment="when a transfer brought it; null if earned here"),
    Column("original", BigInteger, nullable=False),
    Column("remaining", BigInteger, nullable=False, comment="less what holds have taken out"),
    Column("lapsed", BigInteger, nullable=False, server_default=text("0"), comment="what ran out"),
    # In the index instead of remaining, so that drawing from a lot stays a heap-only update.
    Column("open", Boolean, nullable=False),
    CheckConstraint("remaining >= 0 AND remaining <= original", name="lots_remaining_in_range"),
    CheckConstraint("open = (remaining > 0)", name="lots_open_while_any_remain"),
)
Index(
    "lots_open_in_burn_order",
    lots.c.program_id,
    lots.c.account_id,
    lots.c.expires_at,
    lots.c.earned_at,
    lots.c.lot_id,
    postgresql_where=text("open"),
)

# The expiry worker finds what is due without looking at what is not.
Index("lots_due", lots.c.program_id, lots.c.expires_at, postgresql_where=text("open AND expires_at IS NOT NULL"))

lot_uses = Table(
    "lot_uses",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("transaction_id", Uuid, primary_key=True, comment="a transaction or a hold"),
    Column(
        "position",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="order of drawing; below 0 for what was given back",
    ),
    Column("lot_id", Uuid, nullable=False),
    Column("amount", BigInteger, nullable=False, comment="negative where it was given back"),
)

reversals = Table(
    "reversals",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("transaction_id", Uuid, primary_key=True, comment="the reversed one"),
    Column("amount", BigInteger, nullable=False),
    Column("reversed", BigInteger, nullable=False),
    CheckConstraint("reversed > 0 AND reversed <= amount", name="reversals_not_over_the_original"),
)

holds = Table(
    "holds",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("hold_id", Uuid, primary_key=True),
    Column("account_id", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    _at("expires_at", nullable=True),
    _at("placed_at"),
    _at("ended_at", nullable=True),
    Column("partner", Boolean, nullable=False, server_default=text("false"), comment="placed by one, not by a saga"),
    CheckConstraint("state IN (1, 2, 3, 4)", name="holds_state_known"),
    CheckConstraint("(state = 1) = (ended_at IS NULL)", name="holds_end_with_a_state"),
)

# What was held as of an instant: what is active still, and what has ended since.
Index("holds_of_account", holds.c.program_id, holds.c.account_id, holds.c.ended_at)
Index("holds_due", holds.c.program_id, holds.c.expires_at, postgresql_where=text("state = 1"))

# Only the account's posting changes it, under the account's lock.
low_balances = Table(
    "low_balances",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("currency", Text, primary_key=True, comment="the funding's"),
    Column("threshold_minor", BigInteger, nullable=False, comment="0 is no alarm"),
    Column("low", Boolean, nullable=False, comment="it came to be low, and was told of"),
    CheckConstraint("threshold_minor >= 0", name="low_balances_threshold_not_negative"),
)

adjustments = Table(
    "adjustments",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("adjustment_id", Uuid, primary_key=True, comment="and its transaction's"),
    Column("member_id", Text, nullable=False),
    Column("asset", Text, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("reason_code", Text, nullable=False),
    Column("ticket", Text, nullable=False),
    Column("note", Text, nullable=False),
    _at("effective_at", nullable=True),
    _at("expires_at", nullable=True),
    Column("alone_max", BigInteger, nullable=False, comment="the program's limit when it was asked for"),
    Column("state", SmallInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    _at("created_at"),
    Column("decided_by", Text, nullable=False, comment="empty while pending, and where nobody had to"),
    _at("decided_at", nullable=True),
    CheckConstraint("state IN (1, 2, 3)", name="adjustments_state_known"),
    CheckConstraint("(state = 1) = (decided_at IS NULL)", name="adjustments_decided_at_a_time"),
    CheckConstraint(
        "state <> 2 OR abs(points) <= alone_max OR decided_by NOT IN ('', created_by)",
        name="adjustments_over_the_limit_by_two",
    ),
)
Index("adjustments_newest", adjustments.c.program_id, adjustments.c.created_at)

rules = Table(
    "rules",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("rule_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("event_type", Text, nullable=False, comment="empty for any"),
    Column("points_numerator", BigInteger, nullable=False),
    Column("points_denominator", BigInteger, nullable=False),
    CheckConstraint("points_numerator > 0 AND points_denominator > 0", name="rules_rate_positive"),
)

events = Table(
    "events",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("event_id", Text, primary_key=True, comment="the partner's own, or the transaction id"),
    Column("transaction_id", Uuid, nullable=False),
    Column("member_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("amount_minor", BigInteger),
    Column("currency", Text, nullable=False),
    _at("occurred_at"),
    _at("received_at"),
    Column("points", BigInteger, nullable=False),
)

# A row a batch and not a row an item: 1,000 items with UUIDs for keys take 41 KB so, and 150 KB otherwise.
transaction_batches = Table(
    "transaction_batches",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("batch_id", Uuid, primary_key=True),
    Column("mode", SmallInteger, nullable=False),
    _at("created_at"),
    Column("keys", ARRAY(Text), nullable=False, comment="the items', in their order, as all that follows"),
    Column("statuses", ARRAY(SmallInteger), nullable=False, comment="the answer of one that succeeded is its key's"),
    Column("replays", ARRAY(Boolean), nullable=False),
    Column("refusals", ARRAY(LargeBinary), nullable=False, comment="null where there is none"),
    CheckConstraint("mode IN (1, 2, 3)", name="transaction_batches_mode_known"),
    CheckConstraint(
        "cardinality(keys) > 0 AND cardinality(statuses) = cardinality(keys)"
        " AND cardinality(replays) = cardinality(keys) AND cardinality(refusals) = cardinality(keys)",
        name="transaction_batches_of_one_length",
    ),
)
