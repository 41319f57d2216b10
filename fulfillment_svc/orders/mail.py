"""The mail that invites a recipient to choose: it brings the link, and no code."""

from datetime import datetime
from email.message import EmailMessage
from zoneinfo import ZoneInfo

from fulfillment_svc.looks.letters import letter
from fulfillment_svc.looks.theme import Theme
from fulfillment_svc.looks.words import amount, day
from fulfillment_svc.orders.values import Invitation, Order


def compose(
    order: Order, invitation: Invitation, theme: Theme, zone: ZoneInfo, link: str, at: datetime
) -> EmailMessage:
    """The mail without its addresses; days are those of `zone`."""
    worth = amount(order.value_minor, order.currency)
    return letter(
        "claim",
        theme,
        f"{theme.name} has a reward of {worth} for you",
        at,
        recipient=invitation.recipient.name,
        worth=worth,
        until="" if order.expires_at is None else day(order.expires_at, zone),
        url=link,
        reference=order.order_id,
    )
