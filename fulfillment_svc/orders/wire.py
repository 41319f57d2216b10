"""Orders between values and protobuf."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

from rewards.catalog.v1 import rewards_pb2 as catalog_pb
from rewards.fulfillment.v1 import orders_pb2 as pb
from rewards.fulfillment.v1.webhooks_pb2 import Event

from fulfillment_svc.orders import rules
from fulfillment_svc.orders.states import CLAIMABLE, Delivery
from fulfillment_svc.orders.values import Order
from fulfillment_svc.redemptions.mail import Recipient
from fulfillment_svc.redemptions.values import Redemption
from fulfillment_svc.redemptions.wire import claim, timestamp
from svckit import money
from svckit.clock import new_id
from svckit.errors import Reason, Refused, invalid
from svckit.programs import Program

_KINDS: Final = {
    pb.MenuOption.CLOSED_LOOP: catalog_pb.Reward.CLOSED_LOOP,
    pb.MenuOption.OPEN_LOOP: catalog_pb.Reward.OPEN_LOOP,
}


class Wanted(NamedTuple):
    """A request as far as it can be judged alone. `menu` is what may be chosen from, none where the order names
    a reward. `currency` is empty where only the reward says it."""

    recipient: Recipient
    country: str
    delivery: Delivery
    menu: catalog_pb.Menu | None
    currency: str
    expires_at: datetime | None


def wanted(request: pb.CreateOrderRequest, program: Program, now: datetime) -> Wanted:
    """What is asked for. Raises INVALID_REQUEST, and RECIPIENT_INVALID for an address that takes no mail."""
    ways = (bool(request.options), request.HasField("catalog_filter"), bool(request.brand), bool(request.reward_id))
    if sum(ways) != 1:
        raise invalid(options="or a catalogFilter, or a brand, or a rewardId must stand there, and only one of them")
    named = bool(request.brand or request.reward_id)
    if named is not request.HasField("denomination"):
        raise invalid(denomination="must stand beside a brand or a rewardId, and only there")
    if not named and not request.HasField("value"):
        raise invalid(value="must be set")
    if request.HasField("value") and named and request.value != request.denomination:
        raise invalid(value="must be the denomination, or left out")
    recipient = _recipient(request)
    return Wanted(
        recipient=recipient,
        country=request.recipient.country,
        delivery=_delivery(request, recipient),
        menu=_menu(request),
        currency=request.currency or ("" if request.reward_id else program.currency),
        expires_at=_expiry(request.expires_at, program, now),
    )


def _recipient(request: pb.CreateOrderRequest) -> Recipient:
    if request.recipient_email and request.HasField("recipient"):
        raise invalid(recipientEmail="must not stand beside a recipient")
    recipient = Recipient(request.recipient_email or request.recipient.email, request.recipient.name)
    if recipient.email:
        recipient.address()
    return recipient


def _delivery(request: pb.CreateOrderRequest, recipient: Recipient) -> Delivery:
    default = pb.Order.EMAIL if recipient.email else pb.Order.LINK
    delivery = Delivery(pb.Order.Delivery.Name(request.delivery or default))
    if delivery is Delivery.EMAIL and not recipient.email:
        raise invalid(**{"recipient.email": "must be set for delivery EMAIL"})
    return delivery


def _menu(request: pb.CreateOrderRequest) -> catalog_pb.Menu | None:
    if request.reward_id:
        return None
    if request.brand:
        return catalog_pb.Menu(choices=[catalog_pb.MenuChoice(brands=[request.brand])])
    if request.options:
        return catalog_pb.Menu(choices=map(_choice, request.options))
    confined = request.catalog_filter
    if confined.countries and request.recipient.country not in ("", *confined.countries):
        raise Refused(Reason.COUNTRY_NOT_SERVED, "The recipient's country is not one of the catalogFilter's.")
    choice = catalog_pb.MenuChoice(categories=confined.categories)
    return catalog_pb.Menu(choices=[choice], countries=confined.countries)


def _choice(option: pb.MenuOption) -> catalog_pb.MenuChoice:
    brands = [option.network] if option.network else option.brands
    return catalog_pb.MenuChoice(kind=_KINDS[option.type], brands=brands)


def _expiry(text: str, program: Program, now: datetime) -> datetime | None:
    """An exclusive instant; a date means that day's end in the program's zone. Raises INVALID_REQUEST."""
    if not text:
        return None
    try:
        if len(text) == len("2026-12-31"):
            day = date.fromisoformat(text) + timedelta(days=1)
            at = datetime.combine(day, time(), program.zone).astimezone(UTC)
        else:
            at = datetime.fromisoformat(text)
            if at.tzinfo is None:
                raise invalid(expiresAt="must have a time zone, or be a date")
            at = at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid(expiresAt="must be an RFC 3339 instant or a date") from None
    if at <= now:
        raise invalid(expiresAt="has passed already")
    return at


def listed(program_id: str, menu: catalog_pb.Menu | None, country: str, currency: str) -> catalog_pb.ListMenuRequest:
    """What the catalog is asked for a menu."""
    return catalog_pb.ListMenuRequest(program_id=program_id, menu=menu, country=country, currency=currency)


def order(one: Order, claims: Sequence[Redemption]) -> pb.Order:
    """An order as partners see it, without its link."""
    return pb.Order(
        order_id=str(one.order_id),
        status=pb.Order.Status.Value(rules.status(one, claims)),
        currency=one.currency,
        claims=[claim(made) for made in claims],
        delivery=pb.Order.Delivery.Value(one.delivery),
        expires_at=None if one.expires_at is None else timestamp(one.expires_at),
        created_at=timestamp(one.created_at),
        reward_id="" if one.choice is None else one.choice.reward_id,
        failure_reason=one.reason or next((made.reason for made in claims if made.parked), ""),
        remaining=money.major(one.remaining_minor if one.state in CLAIMABLE else 0, one.currency),
        value=money.major(one.value_minor, one.currency),
        fees=money.major(one.fee_minor, one.currency),
        returned=money.major(one.returned_minor, one.currency),
    )


def event(one: Order, kind: str, at: datetime, made: Redemption | None = None) -> Event:
    """The event that something became of an order, with the claim that did it. It carries no code, no link and no
    personal data (G53)."""
    data = {
        "orderId": str(one.order_id),
        "value": money.major(one.value_minor, one.currency),
        "remaining": money.major(one.remaining_minor, one.currency),
        "returned": money.major(one.returned_minor, one.currency),
        "currency": one.currency,
    }
    if made is not None:
        denomination = money.major(made.choice.denomination_minor, one.currency)
        data |= {"claimId": str(made.redemption_id), "rewardId": made.choice.reward_id, "denomination": denomination}
    return Event(
        event_id=str(new_id()),
        program_id=one.program_id,
        type=f"order.{kind}",
        created_at=timestamp(at),
        data_json=json.dumps(data, separators=(",", ":")),
    )
