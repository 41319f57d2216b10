"""MessagesService: sends what it is given and keeps nothing of it."""

from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

from rewards.fulfillment.v1 import messages_pb2 as pb
from rewards.fulfillment.v1.messages_pb2_grpc import MessagesServiceServicer
from rewards.identity.v1.programs_pb2 import Branding

from fulfillment_svc.looks.letters import letter
from fulfillment_svc.looks.theme import Theme
from fulfillment_svc.redemptions.mail import Mailer
from fulfillment_svc.redemptions.states import Answer
from fulfillment_svc.tables import programs
from svckit.clock import Clock, system_clock
from svckit.db import Database
from svckit.errors import Reason, Refused


class MessagesServicer(MessagesServiceServicer):
    """Sends by `mailer`, in the look of the program that `db` knows."""

    def __init__(self, db: Database, mailer: Mailer, clock: Clock = system_clock) -> None:
        self._db = db
        self._mailer = mailer
        self._clock = clock

    async def SendCode(self, request: pb.SendCodeRequest, context: Any) -> pb.SendCodeResponse:
        """Mails a one-time code."""
        try:
            to = Address(addr_spec=request.email)
        except (MessageError, ValueError, IndexError):
            raise Refused(Reason.RECIPIENT_INVALID, "No mail can be sent to this address.") from None
        theme = await self._theme(request.program_id)
        mail = compose(theme, request, self._clock())
        reply = await self._mailer.send(mail, theme, to, request.message_id)
        if reply.answer is Answer.REFUSED:
            raise Refused(Reason.RECIPIENT_INVALID, "The mail server does not take mail for this address.")
        if reply.answer is not Answer.DONE:
            raise Refused(Reason.UNAVAILABLE, "No mail can be sent now.", retry_after_s=1)
        return pb.SendCodeResponse()

    async def _theme(self, program_id: str) -> Theme:
        # An identity_svc of before there were looks names no program, and its codes have to leave as well.
        return Theme.of((await programs.read(self._db, program_id)).branding if program_id else Branding())


def compose(theme: Theme, request: pb.SendCodeRequest, at: datetime) -> EmailMessage:
    """The mail without its addresses. The code is not in the subject, which lock screens show."""
    purpose, until = " ".join(request.purpose.split()), f"{request.expires_at.ToDatetime(UTC):%Y-%m-%d %H:%M}"
    return letter("code", theme, f"Your code to {purpose}", at, purpose=purpose, code=request.code, until=until)
