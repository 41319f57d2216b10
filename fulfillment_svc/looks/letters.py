"""Mails in a program's look: text, and the same as HTML that loads nothing from elsewhere and tells nobody that it was
opened. The logo travels with the mail."""

from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Final

from fulfillment_svc.looks.render import render
from fulfillment_svc.looks.theme import Theme

_LOGO: Final = "logo"


def letter(template: str, theme: Theme, subject: str, at: datetime, **values: Any) -> EmailMessage:
    """The mail of that name (`template`.txt and `template`.html), without its addresses."""
    message = EmailMessage()
    message["Subject"] = " ".join(subject.split())
    message["Date"] = format_datetime(at)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(render(f"mail/{template}.txt", theme, **values))
    logo = f"cid:{_LOGO}" if theme.logo else ""
    message.add_alternative(
        render(f"mail/{template}.html", theme, logo=logo, subject=message["Subject"], **values), "html"
    )
    html = message.get_body(("html",))
    if theme.logo and html is not None:
        # Beside the HTML and not in it: many mail programs show no image that stands in an address.
        html.add_related(theme.logo, "image", "png", cid=f"<{_LOGO}>", disposition="inline")
    return message
