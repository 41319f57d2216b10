"""Plans, partners and credentials to and from protobuf."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from rewards.identity.v1 import access_pb2
from rewards.identity.v1 import credentials_pb2 as pb

from identity_svc.credentials.assertions import public_keys
from identity_svc.credentials.rules import Partner, Plan, State, Wanted, check_costs, check_scopes
from identity_svc.surface import OPERATIONS, SCOPES
from svckit.call import Principal
from svckit.errors import Reason, Refused, invalid


def plan(sent: pb.Plan) -> Plan:
    """The plan that a request wants. Raises INVALID_REQUEST for a cost of no operation."""
    costs = check_costs(sent.costs, OPERATIONS)
    return Plan(sent.plan_id, sent.requests_per_second, sent.burst, sent.requests_per_day, costs)


def plan_message(stored: Plan) -> pb.Plan:
    """A plan as it leaves the process."""
    return pb.Plan(**asdict(stored))


def client(sent: pb.CreateClientRequest) -> Wanted:
    """The client that a request wants. Raises INVALID_REQUEST for a scope that no RPC declares, and for keys that are
    no public ones."""
    scopes, jwks = check_scopes(sent.scopes, SCOPES), public_keys(sent.jwks) if sent.jwks else None
    return Wanted(sent.program_id, sent.name, scopes, sent.plan_id, None, sent.partner_id or None, jwks)


def api_key(sent: pb.CreateApiKeyRequest) -> Wanted:
    """The API key that a request wants. Raises INVALID_REQUEST for a scope that no RPC declares."""
    expires_at = _time(sent.expires_at) if sent.HasField("expires_at") else None
    return Wanted(
        sent.program_id, sent.name, check_scopes(sent.scopes, SCOPES), sent.plan_id, expires_at, sent.partner_id or None
    )


def own_key(sent: access_pb2.IssueApiKeyRequest, caller: Principal, holder: State) -> Wanted:
    """The API key that a caller makes for itself: of its program, its partner and its plan.

    Raises PERMISSION_DENIED for a scope that the caller does not have, also if its token has only lost it.
    """
    if not caller.scopes.issuperset(sent.scopes):
        raise Refused(Reason.PERMISSION_DENIED, "A key can have no scope that its maker does not have.")
    expires_at = _time(sent.expires_at) if sent.HasField("expires_at") else None
    scopes = check_scopes(sent.scopes, SCOPES)
    plan_id = "" if holder.plan is None else holder.plan.plan_id
    return Wanted(holder.program_id, sent.name, scopes, plan_id, expires_at, holder.partner_id)


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


def credential_message(row: Any) -> pb.Credential:
    """A credential as it leaves the process."""
    return pb.Credential(
        credential_id=row.credential_id,
        kind=pb.Credential.Kind.Value(row.kind),
        name=row.name,
        partner_id=row.partner_id or "",
        scopes=row.scopes,
        plan_id=row.plan_id or "",
        created_at=timestamp(row.created_at),
        expires_at=timestamp(row.expires_at),
        revoked_at=timestamp(row.revoked_at),
        last_used_at=timestamp(row.last_used_at),
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
