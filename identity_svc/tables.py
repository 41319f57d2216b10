"""The tables of identity_svc. A tenant's key leads every key of its tables (design decision 5); `program_id`
is empty for what is the platform's own."""

from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from svckit import idempotency
from svckit.outbox import Outbox

metadata: Final = MetaData()
keys: Final = idempotency.table(metadata)
outbox: Final = Outbox(metadata)


def _at(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


audit: Final = Table(
    "audit",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("audit_id", Uuid, primary_key=True),
    _at("at"),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("request_id", Text, nullable=False),
)

programs: Final = Table(
    "programs",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("asset", Text, nullable=False),
    Column("points_per_unit", BigInteger, nullable=False),
    Column("clock_offset_s", BigInteger, nullable=False),
    # Serialized rewards.identity.v1.Policy, which the ledger reads and, for attributes, the room of members.
    Column("policy", LargeBinary, nullable=False, server_default=text("''::bytea")),
    Column("branding", LargeBinary, nullable=False, server_default=text("''::bytea"), comment="Serialized Branding"),
    Column("version", BigInteger, nullable=False),
    _at("revoked_at", nullable=True),
    CheckConstraint("mode IN ('SANDBOX', 'LIVE')", name="programs_mode_known"),
    CheckConstraint("points_per_unit > 0", name="programs_points_per_unit_positive"),
    CheckConstraint("mode = 'SANDBOX' OR clock_offset_s = 0", name="programs_live_clock_is_real"),
    CheckConstraint("version > 0", name="programs_version_positive"),
)

plans: Final = Table(
    "plans",
    metadata,
    Column("plan_id", Text, primary_key=True),
    Column("requests_per_second", BigInteger, nullable=False),
    Column("burst", BigInteger, nullable=False),
    Column("requests_per_day", BigInteger, nullable=False),
    Column("costs", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="by the operation's name"),
    CheckConstraint("requests_per_second > 0 AND burst > 0 AND requests_per_day > 0", name="plans_limits_positive"),
)

partners: Final = Table(
    "partners",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("partner_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    _at("revoked_at", nullable=True),
    ForeignKeyConstraint(["program_id"], ["programs.program_id"], name="partners_program_exists"),
)

credentials: Final = Table(
    "credentials",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("credential_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("secret_mac", LargeBinary, comment="HMAC-SHA256 of id and secret, under the pepper"),
    Column("public_keys", Text, comment="a JWKS, of a client that signs assertions instead of showing a secret"),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("plan_id", Text, comment="null for operators only"),
    Column("epoch", BigInteger, nullable=False, comment="a token of another epoch is refused"),
    _at("created_at"),
    _at("expires_at", nullable=True),
    _at("revoked_at", nullable=True),
    _at("last_used_at", nullable=True),
    Column("partner_id", Text, comment="null for what belongs to the program itself"),
    Column("previous_mac", LargeBinary, comment="the secret before the last rotation, while the two overlap"),
    _at("previous_until", nullable=True),
    # A caller names its credential and not its program, so this one is looked up without it.
    Index("credentials_by_id", "credential_id"),
    CheckConstraint("kind IN ('CLIENT', 'API_KEY', 'OPERATOR')", name="credentials_kind_known"),
    CheckConstraint("(kind = 'OPERATOR') = (program_id = '')", name="credentials_operators_have_no_program"),
    CheckConstraint("kind = 'OPERATOR' OR plan_id IS NOT NULL", name="credentials_partners_have_a_plan"),
    CheckConstraint("epoch > 0", name="credentials_epoch_positive"),
    CheckConstraint(
        "(secret_mac IS NULL) = (public_keys IS NOT NULL) AND (public_keys IS NULL OR kind = 'CLIENT')",
        name="credentials_have_one_proof",
    ),
    CheckConstraint("(previous_mac IS NULL) = (previous_until IS NULL)", name="credentials_previous_ends"),
    ForeignKeyConstraint(
        ["program_id", "partner_id"],
        ["partners.program_id", "partners.partner_id"],
        name="credentials_partner_exists",
    ),
)

tokens: Final = Table(
    "tokens",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("credential_id", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("token_id", Uuid, nullable=False, comment="the token's jti; the token itself is stored nowhere"),
    Column("key_id", Text, nullable=False),
    _at("issued_at"),
    _at("expires_at"),
    ForeignKeyConstraint(
        ["program_id", "credential_id"],
        ["credentials.program_id", "credentials.credential_id"],
        name="tokens_credential_exists",
    ),
)

revoked_tokens: Final = Table(
    "revoked_tokens",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("token_id", Uuid, primary_key=True),
    _at("ends_at"),
    Index("revoked_tokens_by_end", "ends_at"),
)

used_assertions: Final = Table(
    "used_assertions",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("credential_id", Text, primary_key=True),
    Column("assertion_id", Text, primary_key=True, comment="the jti, which is good once"),
    _at("ends_at"),
    Index("used_assertions_by_end", "ends_at"),
    ForeignKeyConstraint(
        ["program_id", "credential_id"],
        ["credentials.program_id", "credentials.credential_id"],
        name="used_assertions_credential_exists",
    ),
)

signing_keys: Final = Table(
    "signing_keys",
    metadata,
    # Processes that start together all try to make generation 1, and one of them does.
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("key_id", Text, nullable=False),
    Column("sealed_key", LargeBinary, nullable=False, comment="the Ed25519 private key, under the pepper"),
    _at("created_at"),
    Column("retired_at", DateTime(timezone=True), comment="from then on what it has signed is refused"),
)

members: Final = Table(
    "members",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("member_id", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("version", BigInteger, nullable=False, comment="counts the member's changes; the etag is made of it"),
    Column(
        "standing_version", BigInteger, nullable=False, comment="version of the last change that the ledger must know"
    ),
    Column("synced_version", BigInteger, nullable=False, comment="the standing_version that the ledger has"),
    Column("attributes", LargeBinary, nullable=False, comment="JSON, under the member's key"),
    _at("created_at"),
    Column("alias_of", Text, comment="the member it was merged into, which may be an alias itself"),
    Index("members_aliases", "program_id", "alias_of", postgresql_where=text("alias_of IS NOT NULL")),
    Index(
        "members_not_synced",
        "program_id",
        "member_id",
        postgresql_where=text("synced_version < standing_version"),
    ),
    CheckConstraint(
        "status IN ('ACTIVE', 'SUSPENDED', 'LOGIN_BLOCKED', 'CANCELLED', 'MEMBERSHIP_BLOCKED')",
        name="members_status_known",
    ),
    CheckConstraint(
        "synced_version <= standing_version AND standing_version <= version", name="members_versions_ordered"
    ),
)

member_keys: Final = Table(
    "member_keys",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("member_id", Text, primary_key=True),
    Column("wrapped_key", LargeBinary, nullable=False, comment="under the pepper; without it the member is unreadable"),
    ForeignKeyConstraint(
        ["program_id", "member_id"], ["members.program_id", "members.member_id"], name="member_keys_member_exists"
    ),
)

relations: Final = Table(
    "relations",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("value_mac", LargeBinary, primary_key=True, comment="HMAC-SHA256 under the program's key"),
    Column("member_id", Text, nullable=False),
    Column("sealed_value", LargeBinary, nullable=False, comment="under the member's key"),
    _at("created_at"),
    Index("relations_by_member", "program_id", "member_id"),
    ForeignKeyConstraint(
        ["program_id", "member_id"], ["members.program_id", "members.member_id"], name="relations_member_exists"
    ),
)
