"""MessagesService: sends what it is given and keeps nothing of it."""

from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Final

from rewards.fulfillment.v1 import messages_pb2 as pb
from rewards.fulfillment.v1.messages_pb2_grpc import MessagesServiceServicer

from fulfillment_svc.redemptions.mail import Mailer
from fulfillment_svc.redemptions.states import Answer
from svckit.clock import Clock, system_clock
from svckit.errors import Reason, Refused

_TEXT: Final = """\
Your code to {purpose} is

    {code}

It is good until {until} UTC, once. We never ask for it, neither by mail
nor by phone. If you did not ask for it, you need do nothing.
"""


class MessagesServicer(MessagesServiceServicer):
    """Sends by `mailer`."""

    def __init__(self, mailer: Mailer, clock: Clock = system_clock) -> None:
        self._mailer = mailer
        self._clock = clock

    async def SendCode(self, request: pb.SendCodeRequest, context: Any) -> pb.SendCodeResponse:
        """Mails a one-time code."""
        try:
            to = Address(addr_spec=request.email)
        except (MessageError, ValueError, IndexError):
            raise Refused(Reason.RECIPIENT_INVALID, "No mail can be sent to this address.") from None
        reply = await self._mailer.send(compose(request, self._clock()), to, request.message_id)
        if reply.answer is Answer.REFUSED:
            raise Refused(Reason.RECIPIENT_INVALID, "The mail server does not take mail for this address.")
        if reply.answer is not Answer.DONE:
            raise Refused(Reason.UNAVAILABLE, "No mail can be sent now.", retry_after_s=1)
        return pb.SendCodeResponse()


def compose(request: pb.SendCodeRequest, at: datetime) -> EmailMessage:
    """The mail without its addresses. The code is not in the subject, which lock screens show."""
    message = EmailMessage()
    message["Subject"] = f"Your code to {' '.join(request.purpose.split())}"
    message["Date"] = format_datetime(at)
    message["Auto-Submitted"] = "auto-generated"
    until = request.expires_at.ToDatetime(UTC)
    message.set_content(_TEXT.format(purpose=request.purpose, code=request.code, until=f"{until:%Y-%m-%d %H:%M}"))
    return message
