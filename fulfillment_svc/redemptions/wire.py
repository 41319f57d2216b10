"""Redemptions between values and protobuf."""

import json
from datetime import datetime
from typing import Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from rewards.catalog.v1.rewards_pb2 import QuoteRewardRequest, QuoteRewardResponse, Reward
from rewards.fulfillment.v1 import claims_pb2, orders_pb2
from rewards.fulfillment.v1 import redemptions_pb2 as pb
from rewards.fulfillment.v1.webhooks_pb2 import Event

from fulfillment_svc.redemptions.mail import Recipient
from fulfillment_svc.redemptions.states import GIVEN_BACK, State, Status
from fulfillment_svc.redemptions.values import Choice, Redemption, Unit
from svckit import money
from svckit.clock import new_id
from svckit.errors import internal

_EVENTS: Final = {
    State.FULFILLED: "redemption.fulfilled",
    State.PARTIALLY_FULFILLED: "redemption.fulfilled",
    State.FAILED: "redemption.failed",
    State.CANCELLED: "redemption.cancelled",
}


def quote_request(program_id: str, request: pb.CreateRedemptionRequest) -> QuoteRewardRequest:
    """What the catalog is asked."""
    return QuoteRewardRequest(
        program_id=program_id,
        reward_id=request.reward_id,
        denomination=request.denomination,
        quantity=_quantity(request),
        country=request.recipient.country,
        version=request.version,
        points=request.points,
    )


def choice(request: pb.CreateRedemptionRequest, quote: QuoteRewardResponse) -> Choice:
    """What is redeemed, as the catalog quoted it. Raises INTERNAL if the quote does not add up."""
    quantity = _quantity(request)
    if quote.value_minor % quantity:
        raise internal()
    return Choice(
        reward_id=request.reward_id,
        reward_version=quote.version,
        reward_name=quote.name,
        brand=quote.brand,
        quantity=quantity,
        denomination_minor=quote.value_minor // quantity,
        currency=quote.currency,
        points=quote.points,
        limited=quote.limited,
        kind=Reward.Kind.Name(quote.kind),
        fees_minor=quote.fees_minor,
    )


def recipient(request: pb.CreateRedemptionRequest) -> Recipient:
    """Who gets it."""
    return Recipient(request.recipient.email, request.recipient.name)


def redemption(one: Redemption) -> pb.Redemption:
    """A redemption as partners see it."""
    return pb.Redemption(
        redemption_id=str(one.redemption_id),
        status=pb.Redemption.Status.Value(one.status),
        points=one.choice.points,
        transaction_id=str(one.points_hold_id or ""),
        items=[_item(one, number) for number in range(1, one.choice.quantity + 1)],
        member_id=one.member_id,
        reward_id=one.choice.reward_id,
        created_at=timestamp(one.created_at),
        failure_reason=one.reason,
        points_refunded=_points_refunded(one),
    )


def created(one: Redemption) -> pb.CreateRedemptionResponse:
    """The answer to the request that made it, which is also kept under its key."""
    return pb.CreateRedemptionResponse(redemption=redemption(one))


def claim(one: Redemption) -> orders_pb2.OrderClaim:
    """A claim as partners see it, and whoever has made it."""
    statuses = {Status.REVIEW: "REVIEW", Status.FULFILLED: "FULFILLED", Status.FAILED: "FAILED"}
    return orders_pb2.OrderClaim(
        claim_id=str(one.redemption_id),
        status=orders_pb2.OrderClaim.Status.Value(statuses.get(one.status, "PROCESSING")),
        reward_id=one.choice.reward_id,
        brand=one.choice.brand,
        denomination=money.major(one.choice.denomination_minor, one.choice.currency),
        code_masked=one.units[0].masked,
        created_at=timestamp(one.created_at),
    )


def claimed(one: Redemption) -> claims_pb2.CreateClaimResponse:
    """The answer to the request that claimed it, which is also kept under its key."""
    return claims_pb2.CreateClaimResponse(claim=claim(one))


def cancelled(one: Redemption) -> pb.CancelRedemptionResponse:
    """The answer to the request that called it off, which is also kept under its key."""
    return pb.CancelRedemptionResponse(redemption=redemption(one))


def redemption_id(sent: str) -> UUID | None:
    """The id that a partner sent; None if it cannot be one of ours."""
    try:
        found = UUID(sent)
    except ValueError:
        return None
    return found if str(found) == sent.lower() else None


def ended(one: Redemption, at: datetime) -> Event:
    """The event that a redemption has ended. It carries no code and no personal data (G53)."""
    data = {
        "redemptionId": str(one.redemption_id),
        "rewardId": one.choice.reward_id,
        "points": one.choice.points,
        "pointsRefunded": _points_refunded(one),
        "status": one.status.value,
    }
    return Event(
        event_id=str(new_id()),
        program_id=one.program_id,
        type=_EVENTS[one.state],
        member_id=one.member_id,
        created_at=timestamp(at),
        data_json=json.dumps(data, separators=(",", ":")),
    )


def timestamp(at: datetime) -> Timestamp:
    """An instant as it is sent."""
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def _quantity(request: pb.CreateRedemptionRequest) -> int:
    return request.quantity if request.HasField("quantity") else 1


def _item(one: Redemption, number: int) -> pb.Item:
    choice, unit = one.choice, one.units[number - 1]
    return pb.Item(
        number=number,
        brand=choice.brand,
        denomination=money.major(choice.denomination_minor, choice.currency),
        currency=choice.currency,
        code_masked=unit.masked,
        status=_item_status(one, unit),
        points=choice.shares[number - 1],
    )


def _item_status(one: Redemption, unit: Unit) -> pb.Item.Status.ValueType:
    if unit.issued:
        return pb.Item.ISSUED
    return pb.Item.REFUNDED if unit.issued is False or one.state in GIVEN_BACK else pb.Item.PENDING


def _points_refunded(one: Redemption) -> int:
    if one.state is State.PARTIALLY_FULFILLED or (one.state in GIVEN_BACK and one.points_hold_id):
        return one.choice.points - one.issued_points
    return 0
