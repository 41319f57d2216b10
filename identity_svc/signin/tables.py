"""Passwords, one-time codes, and what members have spent of their tries."""

from typing import Any, Final

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
)

from identity_svc.tables import metadata


def _at(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


passwords: Final = Table(
    "passwords",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("member_id", Text, primary_key=True),
    Column("sealed_hash", LargeBinary, nullable=False, comment="Argon2id's, under the member's key"),
    ForeignKeyConstraint(
        ["program_id", "member_id"], ["members.program_id", "members.member_id"], name="passwords_member_exists"
    ),
)

# For a member that does not exist as well, so that nobody can tell.
otps: Final = Table(
    "otps",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("otp_id", Uuid, primary_key=True),
    Column("member_id", Text, nullable=False),
    Column("code_mac", LargeBinary, nullable=False, comment="of the program, the id, the purpose and the code"),
    Column("void", Boolean, nullable=False, comment="of nobody: never right"),
    Column("tries", BigInteger, nullable=False),
    _at("expires_at"),
    _at("used_at", nullable=True),
    Index("otps_by_member", "program_id", "member_id"),
    CheckConstraint("tries BETWEEN 0 AND 5", name="otps_tries_bounded"),
)

otp_letters: Final = Table(
    "otp_letters",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("otp_id", Uuid, primary_key=True),
    Column("member_id", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False, comment="address and code, under the pepper, until it is sent"),
    _at("expires_at"),
)

signin_spent: Final = Table(
    "signin_spent",
    metadata,
    Column("program_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True, comment="sends, guesses or passwords"),
    Column("subject", Text, primary_key=True, comment="a member id, or the HMAC of an address"),
    _at("hour_at"),
    Column("hour_count", BigInteger, nullable=False),
    _at("day_at"),
    Column("day_count", BigInteger, nullable=False),
    Column("in_a_row", BigInteger, nullable=False, comment="without a success in between"),
)
