"""The mail that brings a reward: the only place where a code is shown in full."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from typing import Final, Self

import aiosmtplib

from fulfillment_svc.redemptions.states import Answer
from fulfillment_svc.redemptions.values import Redemption, Reply
from svckit import money
from svckit.errors import Reason, Refused

TIMEOUT_S: Final = 8.0


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who gets a reward: personal data, which is stored sealed and never logged."""

    email: str = field(repr=False)
    name: str = field(repr=False)

    def address(self) -> Address:
        """Where the mail goes. Raises RECIPIENT_INVALID if no mail can be sent there.

        The rules of the proto let addresses through that RFC 5322 does not know, like `a..b@example.com`.
        """
        try:
            return Address("".join(c if c.isprintable() else " " for c in self.name).strip(), addr_spec=self.email)
        except (MessageError, ValueError):
            raise Refused(Reason.RECIPIENT_INVALID, "No mail can be sent to this address.") from None

    def to_bytes(self) -> bytes:
        """The recipient as it is sealed."""
        return json.dumps([self.email, self.name]).encode()

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """Reads what `to_bytes` wrote."""
        return cls(*json.loads(stored))


class Mailer:
    """Sends by the SMTP server at `host`:`port`, from `sender`."""

    def __init__(self, host: str, port: int, sender: Address) -> None:
        self._host = host
        self._port = port
        self._sender = sender

    async def deliver(self, redemption: Redemption, recipient: Recipient, codes: Sequence[str], at: datetime) -> Reply:
        """Sends the codes. Again after a lost answer it is the same mail, known by its Message-ID."""
        return await self.send(compose(redemption, codes, at), recipient.address(), str(redemption.redemption_id))

    async def send(self, message: EmailMessage, to: Address, message_id: str) -> Reply:
        """Sends a mail that has everything but its addresses and its id."""
        message["From"] = self._sender
        message["To"] = to
        message["Message-ID"] = f"<{message_id}@{self._sender.domain}>"
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await aiosmtplib.send(message, hostname=self._host, port=self._port)
        except aiosmtplib.SMTPException as error:
            return _failure(error)
        except (OSError, TimeoutError):
            return Reply(Answer.UNKNOWN, "MAIL_UNREACHABLE")
        return Reply(Answer.DONE)


def compose(redemption: Redemption, codes: Sequence[str], at: datetime) -> EmailMessage:
    """The mail without its addresses: plain text, and the same as HTML that loads nothing from elsewhere."""
    choice = redemption.choice
    value = f"{money.major(choice.denomination_minor, choice.currency):.{money.exponent(choice.currency)}f}"
    worth = f"{value} {choice.currency}"
    price = f", for {redemption.issued_points:,} points" if redemption.issued_points else ""
    message = EmailMessage()
    message["Subject"] = f"Your {' '.join(choice.brand.split())} reward"
    message["Date"] = format_datetime(at)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        _TEXT.format(
            name=choice.reward_name,
            brand=choice.brand,
            price=price,
            codes="\n".join(f"    {code}    worth {worth}" for code in codes),
            reference=redemption.redemption_id,
        )
    )
    message.add_alternative(
        _HTML.format(
            name=escape(choice.reward_name),
            brand=escape(choice.brand),
            price=price,
            codes="".join(_HTML_CODE.format(code=escape(code), worth=escape(worth)) for code in codes),
            reference=redemption.redemption_id,
        ),
        subtype="html",
    )
    return message


def _failure(error: aiosmtplib.SMTPException) -> Reply:
    # A 5xx is the mail server's last word on this mail; a person should look at it, while it is tried on.
    refusals = error.recipients if isinstance(error, aiosmtplib.SMTPRecipientsRefused) else [error]
    codes = [one.code for one in refusals if isinstance(one, aiosmtplib.SMTPResponseException)]
    if codes and min(codes) >= aiosmtplib.SMTPStatus.syntax_error:
        return Reply(Answer.REFUSED, "MAIL_REFUSED")
    return Reply(Answer.UNKNOWN, "MAIL_UNREACHABLE")


_TEXT: Final = """\
Here is your reward: {name} of {brand}{price}.

{codes}

A code is as good as cash. Keep this mail to yourself: we never ask for a
code, neither by mail nor by phone.

Reference: {reference}
"""

_HTML: Final = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Your reward</title></head>
<body style="margin:0;padding:24px;background:#f4f4f2;color:#1c1c1a;font:16px/1.5 Georgia,serif">
<div style="max-width:520px;margin:0 auto;padding:32px;background:#fff;border:1px solid #dcdcd6;border-radius:8px">
<h1 style="margin:0 0 4px;font-size:24px;font-weight:normal">{brand}</h1>
<p style="margin:0 0 24px;color:#5c5c56">{name}{price}</p>
{codes}
<p style="margin:24px 0 0">A code is as good as cash. Keep this mail to yourself: we never ask for a code,
neither by mail nor by phone.</p>
<p style="margin:24px 0 0;color:#5c5c56;font-size:13px">Reference {reference}</p>
</div>
</body>
</html>
"""

_HTML_CODE: Final = """\
<p style="margin:0 0 12px;padding:16px;background:#f4f4f2;border-radius:6px">
<span style="font:20px/1.3 monospace;letter-spacing:1px">{code}</span><br>
<span style="color:#5c5c56;font-size:14px">worth {worth}</span></p>
"""
