"""Plans, partners and credentials to and from protobuf."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from rewards.identity.v1 import credentials_pb2 as pb

from identity_svc.credentials.rules import Partner, Plan, Wanted, check_scopes
from identity_svc.surface import SCOPES
from svckit.errors import invalid


def plan(sent: pb.Plan) -> Plan:
    """The plan that a request wants."""
    return Plan(sent.plan_id, sent.requests_per_second, sent.burst, sent.requests_per_day)


def client(sent: pb.CreateClientRequest) -> Wanted:
    """The client that a request wants. Raises INVALID_REQUEST for a scope that no RPC declares."""
    return Wanted(
        sent.program_id, sent.name, check_scopes(sent.scopes, SCOPES), sent.plan_id, None, sent.partner_id or None
    )


def api_key(sent: pb.CreateApiKeyRequest) -> Wanted:
    """The API key that a request wants. Raises INVALID_REQUEST for a scope that no RPC declares."""
    expires_at = _time(sent.expires_at) if sent.HasField("expires_at") else None
    return Wanted(
        sent.program_id, sent.name, check_scopes(sent.scopes, SCOPES), sent.plan_id, expires_at, sent.partner_id or None
    )


def partner(sent: pb.Partner) -> Partner:
    """The partner that a request wants."""
    return Partner(sent.program_id, sent.partner_id, sent.name)


def partner_message(stored: Partner) -> pb.Partner:
    """A partner as it leaves the process."""
    return pb.Partner(
        program_id=stored.program_id,
        partner_id=stored.partner_id,
        name=stored.name,
        revoked_at=timestamp(stored.revoked_at),
    )


def timestamp(at: datetime | None) -> Timestamp | None:
    """The instant; None where there is none."""
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def _time(sent: Timestamp) -> datetime:
    try:
        return sent.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise invalid(expiresAt="is not a time") from None
