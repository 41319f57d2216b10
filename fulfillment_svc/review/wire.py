"""The review desk between values and protobuf."""

from datetime import datetime
from typing import Any
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from rewards.fulfillment.v1 import review_pb2 as pb

from fulfillment_svc.orders.values import Order
from fulfillment_svc.redemptions.values import Redemption
from fulfillment_svc.redemptions.wire import timestamp
from fulfillment_svc.review.desk import Deed
from fulfillment_svc.review.rules import Action, allowed, kind
from fulfillment_svc.review.store import Entry, Parked, Stake
from svckit.errors import invalid


def deed(request: Any, action: Action, actor: str) -> Deed:
    """What an operator asks for. Raises INVALID_REQUEST for two codes of one item."""
    items = request.items if isinstance(request, pb.IssueReviewRequest) else ()
    codes = {item.number: item.code for item in items}
    if len(codes) < len(items):
        raise invalid(items="an item stands there twice")
    email = request.email if isinstance(request, pb.ReaddressReviewRequest) else ""
    return Deed(action, request.program_id, named(request)[1], actor, request.evidence, codes, email)


def named(request: Any) -> tuple[type[Redemption | Order], UUID]:
    """What a request is about, of which it names one."""
    if order_id := getattr(request, "order_id", ""):
        return Order, UUID(order_id)
    return Redemption, UUID(request.redemption_id)


def review(parked: Parked) -> pb.Review:
    """A redemption or an order as the desk sees it."""
    one, why = parked.subject, kind(parked.subject)
    return pb.Review(
        **(_order(one) if isinstance(one, Order) else _redemption(one)),
        program_id=one.program_id,
        kind=pb.Review.Kind.Value(why) if why else pb.Review.KIND_UNSPECIFIED,
        reason=parked.reason,
        state=one.state,
        parked_at=_or_unset(parked.parked_at),
        age_s=parked.age_s,
        due_at=_or_unset(parked.due_at),
        actions=[pb.Review.Action.Value(action) for action in allowed(one)],
    )


def entry(one: Entry) -> pb.ReviewEntry:
    """Something that happened."""
    return pb.ReviewEntry(
        at=timestamp(one.at),
        state=one.state or "",
        answer=one.answer or "",
        reason=one.reason or "",
        action=pb.Review.Action.Value(one.action) if one.action else pb.Review.ACTION_UNSPECIFIED,
        actor=one.actor or "",
        evidence=one.evidence or "",
    )


def exposure(stake: Stake) -> pb.Exposure:
    """What is at stake."""
    return pb.Exposure(**stake._asdict() | {"oldest_at": timestamp(stake.oldest_at)})


def _redemption(one: Redemption) -> dict[str, Any]:
    return {
        "redemption_id": str(one.redemption_id),
        "provider": one.provider,
        "route": one.route,
        "member_id": one.member_id,
        "points": one.choice.points,
        "value_minor": one.choice.funding_minor,
        "currency": one.choice.currency,
    }


def _order(one: Order) -> dict[str, Any]:
    return {"order_id": str(one.order_id), "value_minor": one.stake_minor, "currency": one.currency}


def _or_unset(at: datetime | None) -> Timestamp | None:
    return None if at is None else timestamp(at)
