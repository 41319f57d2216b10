"""The mail that invites a recipient to choose: it brings the link, and no code."""

from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from typing import Final

from fulfillment_svc.orders.values import Order
from svckit import money


def compose(order: Order, sender: str, link: str, at: datetime) -> EmailMessage:
    """The mail without its addresses: plain text, and the same as HTML that loads nothing from elsewhere. `sender` is
    the program's name."""
    value = money.major(order.value_minor, order.currency)
    worth = f"{value:.{money.exponent(order.currency)}f} {order.currency}"
    until = "" if order.expires_at is None else f" You can choose until {order.expires_at:%Y-%m-%d %H:%M} UTC."
    message = EmailMessage()
    message["Subject"] = f"{sender} has a reward of {worth} for you"
    message["Date"] = format_datetime(at)
    message["Auto-Submitted"] = "auto-generated"
    told = {"sender": sender, "worth": worth, "until": until, "link": link, "reference": str(order.order_id)}
    message.set_content(_TEXT.format(**told))
    message.add_alternative(_HTML.format(**{name: escape(text) for name, text in told.items()}), subtype="html")
    return message


_TEXT: Final = """\
{sender} has a reward of {worth} for you. Choose what you would like:

    {link}

The link is as good as cash. Keep this mail to yourself.{until}

Reference: {reference}
"""

_HTML: Final = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Your reward</title></head>
<body style="margin:0;padding:24px;background:#f4f4f2;color:#1c1c1a;font:16px/1.5 Georgia,serif">
<div style="max-width:520px;margin:0 auto;padding:32px;background:#fff;border:1px solid #dcdcd6;border-radius:8px">
<h1 style="margin:0 0 4px;font-size:24px;font-weight:normal">A reward of {worth}</h1>
<p style="margin:0 0 24px;color:#5c5c56">from {sender}</p>
<p style="margin:0 0 24px"><a href="{link}" style="color:#1c1c1a">Choose what you would like</a></p>
<p style="margin:24px 0 0">The link is as good as cash. Keep this mail to yourself.{until}</p>
<p style="margin:24px 0 0;color:#5c5c56;font-size:13px">Reference {reference}</p>
</div>
</body>
</html>
"""
