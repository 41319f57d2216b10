"""Plans and credentials from protobuf."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from rewards.identity.v1 import credentials_pb2 as pb

from identity_svc.credentials.rules import Plan, Wanted, check_scopes
from identity_svc.surface import SCOPES
from svckit.errors import invalid


def plan(sent: pb.Plan) -> Plan:
    """The plan that a request wants."""
    return Plan(sent.plan_id, sent.requests_per_second, sent.burst, sent.requests_per_day)


def client(sent: pb.CreateClientRequest) -> Wanted:
    """The client that a request wants. Raises INVALID_REQUEST for a scope that no RPC declares."""
    return Wanted(sent.program_id, sent.name, check_scopes(sent.scopes, SCOPES), sent.plan_id)


def api_key(sent: pb.CreateApiKeyRequest) -> Wanted:
    """The API key that a request wants. Raises INVALID_REQUEST for a scope that no RPC declares."""
    expires_at = _time(sent.expires_at) if sent.HasField("expires_at") else None
    return Wanted(sent.program_id, sent.name, check_scopes(sent.scopes, SCOPES), sent.plan_id, expires_at)


def _time(sent: Timestamp) -> datetime:
    try:
        return sent.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise invalid(expiresAt="is not a time") from None
