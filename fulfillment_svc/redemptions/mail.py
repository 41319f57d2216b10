"""The mail that brings a reward: the only place where a code is shown in full."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Final, Self

import aiosmtplib

from fulfillment_svc.looks.letters import letter
from fulfillment_svc.looks.theme import Theme
from fulfillment_svc.looks.words import amount
from fulfillment_svc.providers.cashback import NAME as CASHBACK
from fulfillment_svc.redemptions.states import Answer
from fulfillment_svc.redemptions.values import Redemption, Reply
from svckit.errors import Reason, Refused

TIMEOUT_S: Final = 8.0
# From this reply code on a server's refusal is for good (RFC 5321, 4.2.1).
_PERMANENT: Final = 500


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

    async def send(self, message: EmailMessage, theme: Theme, to: Address, message_id: str) -> Reply:
        """Sends a mail that has everything but its addresses and its id, in the name that `theme` shows. Again after a
        lost answer it is the same mail, known by that id."""
        message["From"] = Address(theme.name, addr_spec=self._sender.addr_spec)
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


def compose(theme: Theme, redemption: Redemption, codes: Sequence[str], at: datetime) -> EmailMessage:
    """The mail without its addresses."""
    choice = redemption.choice
    told = {
        "name": choice.reward_name,
        "brand": choice.brand,
        "points": f"{redemption.issued_points:,}" if choice.points else "",
        "reference": redemption.redemption_id,
    }
    if redemption.provider == CASHBACK:
        # What is issued is a posting in the ledger, whose id is no code that anybody could use.
        return letter(
            "cashback", theme, "Your cashback", at, credited=amount(redemption.issued_minor, choice.currency), **told
        )
    worth = amount(choice.denomination_minor, choice.currency)
    return letter("reward", theme, f"Your {choice.brand} reward", at, codes=codes, worth=worth, **told)


def _failure(error: aiosmtplib.SMTPException) -> Reply:
    # A 5xx is the mail server's last word on this mail; a person should look at it, while it is tried on.
    refusals = error.recipients if isinstance(error, aiosmtplib.SMTPRecipientsRefused) else [error]
    codes = [one.code for one in refusals if isinstance(one, aiosmtplib.SMTPResponseException)]
    if codes and min(codes) >= _PERMANENT:
        return Reply(Answer.REFUSED, "MAIL_REFUSED")
    return Reply(Answer.UNKNOWN, "MAIL_UNREACHABLE")
