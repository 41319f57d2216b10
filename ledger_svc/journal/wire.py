"""Protobuf to values and back, for the whole ledger. Total functions: they refuse, or they answer."""

from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.status_pb2 import Status
from rewards.ledger.v1 import journal_pb2, points_pb2

from ledger_svc.journal.values import Entry, Key, Owner
from svckit.errors import Reason, from_status, invalid
from svckit.programs import Program

_OLDEST = datetime(1970, 1, 1, tzinfo=UTC)
_NEWEST = datetime(9999, 1, 1, tzinfo=UTC)


def timestamp(at: datetime) -> Timestamp:
    """`at` as protobuf has it."""
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def instant(stamp: Timestamp, field: str) -> datetime:
    """The instant of a Timestamp. Raises INVALID_REQUEST outside of the years 1970 to 9998."""
    at = stamp.ToDatetime(tzinfo=UTC)
    if not _OLDEST <= at < _NEWEST:
        raise invalid(**{field: "is out of range"})
    return at


def expiry(text: str, zone: ZoneInfo, field: str) -> datetime | None:
    """An RFC 3339 instant, or a date, which means the end of that day in `zone`; None if empty (G3)."""
    if not text:
        return None
    try:
        if len(text) == len("2026-12-31"):
            day = date.fromisoformat(text) + timedelta(days=1)
            at = datetime.combine(day, time(), zone).astimezone(UTC)
        else:
            at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise invalid(**{field: "is neither an RFC 3339 instant nor a date"}) from None
    if at.tzinfo is None or not _OLDEST <= at < _NEWEST:
        raise invalid(**{field: "needs a time zone and a year up to 9998"})
    return at


def member_key(program: Program, member_id: str, asset: str) -> Key:
    """The account of a member in an asset. Raises INVALID_REQUEST for an asset the program does not have."""
    chosen = asset or program.asset
    if chosen != program.asset and chosen not in program.policy.more_assets:
        raise invalid(asset="is not an asset of this program")
    return Key(program.program_id, Owner.MEMBER, member_id, chosen)


def funding_key(program_id: str, currency: str) -> Key:
    """The program's prepaid funding in a currency."""
    return Key(program_id, Owner.FUNDING, currency, currency)


def account_key(program: Program, ref: journal_pb2.AccountRef) -> Key:
    """The account that an AccountRef names."""
    if ref.WhichOneof("owner") == "member_id":
        return member_key(program, ref.member_id, ref.asset)
    return funding_key(program.program_id, ref.funding_currency)


def uuid(text: str, field: str) -> UUID:
    """A UUID that validation has let through."""
    try:
        return UUID(text)
    except ValueError:
        raise invalid(**{field: "is not a UUID"}) from None


def transaction(entry: Entry) -> points_pb2.Transaction:
    """An entry as histories show it."""
    return points_pb2.Transaction(
        transaction_id=str(entry.transaction_id),
        kind=points_pb2.Transaction.Kind.ValueType(entry.kind),
        points=entry.amount,
        category=points_pb2.Category.ValueType(entry.category),
        balance_after=entry.balance_after,
        recorded_at=timestamp(entry.recorded_at),
        occurred_at=timestamp(entry.effective_at),
    )


def redemption(entry: Entry, member_id: str, points_reversed: int) -> points_pb2.Redemption:
    """A debit as GetRedemption shows it."""
    return points_pb2.Redemption(
        transaction_id=str(entry.transaction_id),
        member_id=member_id,
        points_redeemed=-entry.amount,
        points_reversed=points_reversed,
        recorded_at=timestamp(entry.recorded_at),
    )


def refusal(body: bytes) -> points_pb2.Refusal:
    """A refusal as a key keeps it."""
    kept = from_status(Status.FromString(body))
    return points_pb2.Refusal(error_code=kept.reason, reason=Reason.Name(kept.reason), message=kept.message)


def future_expiry(text: str, zone: ZoneInfo, now: datetime, field: str) -> datetime | None:
    """As `expiry`, for points that are to be made. Raises INVALID_REQUEST if it has passed."""
    at = expiry(text, zone, field)
    if at is not None and at <= now:
        raise invalid(**{field: "has passed already"})
    return at
