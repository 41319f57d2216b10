"""Adjustments to and from protobuf."""

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from rewards.ledger.v1 import adjustments_pb2 as pb

from ledger_svc.adjustments.rules import Adjustment
from ledger_svc.journal.expiry import expires_at
from ledger_svc.journal.wire import future_expiry, instant, member_key, timestamp
from svckit import paging
from svckit.clock import new_id
from svckit.errors import invalid
from svckit.programs import Program


def adjustment(request: pb.CreateAdjustmentRequest, program: Program, now: datetime, by: str) -> Adjustment:
    """What is asked for. Raises INVALID_REQUEST for an expiry of points that are taken, and for what is to come."""
    until = future_expiry(request.expires_at, program.zone, now, "expiresAt")
    if request.points > 0:
        until = until or expires_at(program, now)
    elif until is not None:
        raise invalid(expiresAt="is for points that are added")
    since = instant(request.effective_at, "effectiveAt") if request.HasField("effective_at") else None
    if since is not None and since > now:
        raise invalid(effectiveAt="is still to come")
    return Adjustment(
        program_id=program.program_id,
        adjustment_id=new_id(),
        member_id=request.member_id,
        asset=member_key(program, request.member_id, request.asset).asset,
        points=request.points,
        reason_code=request.reason_code,
        ticket=request.ticket,
        note=request.note,
        effective_at=since,
        expires_at=until,
        alone_max=program.policy.adjust_alone_max_points,
        created_by=by,
        created_at=now,
    )


def message(of: Adjustment) -> pb.Adjustment:
    """An adjustment as it leaves the process."""
    return pb.Adjustment(
        adjustment_id=str(of.adjustment_id),
        member_id=of.member_id,
        points=of.points,
        asset=of.asset,
        reason_code=of.reason_code,
        ticket=of.ticket,
        note=of.note,
        effective_at=None if of.effective_at is None else timestamp(of.effective_at),
        expires_at=None if of.expires_at is None else timestamp(of.expires_at),
        status=pb.Adjustment.Status.ValueType(of.state),
        created_by=of.created_by,
        created_at=timestamp(of.created_at),
        decided_by=of.decided_by,
        decided_at=None if of.decided_at is None else timestamp(of.decided_at),
    )


class Place(NamedTuple):
    """Where a page ended."""

    created_at: datetime
    adjustment_id: UUID


def place(request: pb.ListAdjustmentsRequest) -> Place | None:
    """The place that a page token names. Raises INVALID_REQUEST if somebody else made it."""
    found = paging.place(request, 2)
    if found is None:
        return None
    try:
        return Place(datetime.fromisoformat(found[0]).astimezone(UTC), UUID(found[1]))
    except (ValueError, OverflowError):
        raise invalid(pageToken="is not a token of this list") from None
