"""Codes by mail, through the real server to a real mail server."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import grpc
import pytest
from rewards.fulfillment.v1 import messages_pb2 as pb
from rewards.fulfillment.v1 import messages_pb2_grpc
from rewards.identity.v1 import programs_pb2

from devmesh.pki import Authority
from fulfillment_svc.messages.servicer import MessagesServicer
from fulfillment_svc.redemptions.mail import Mailer
from fulfillment_svc.tables import programs
from fulfillment_svc.tests.harness import SENDER
from fulfillment_svc.tests.outside import Mailbox
from fulfillment_svc.tests.refusals import reason
from svckit.clients import open_channel
from svckit.db import Database
from svckit.testing import serving


def letter(email: str, program_id: str = "") -> pb.SendCodeRequest:
    request = pb.SendCodeRequest(message_id=str(uuid4()), email=email, code="004711", purpose="sign in")
    request.program_id = program_id
    request.expires_at.FromDatetime(datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    return request


def served(db: Database, port: int) -> list[object]:
    return [MessagesServicer(db, Mailer("127.0.0.1", port, SENDER))]


Send = Callable[..., Awaitable[Any]]


@pytest.fixture
def send(authority: Authority, db: Database, mailbox: Mailbox) -> Send:
    """Sends a letter, as identity_svc and to the mailbox if no other is named."""

    async def call(request: pb.SendCodeRequest, *, port: int = mailbox.port, peer: str = "identity_svc") -> Any:
        async with (
            serving(authority.issue("fulfillment_svc"), served(db, port)) as address,
            open_channel(address, "fulfillment_svc", authority.issue(peer)) as channel,
        ):
            return await messages_pb2_grpc.MessagesServiceStub(channel).SendCode(request, timeout=10)

    return call


async def test_a_code_is_mailed_and_never_in_the_subject(send: Send, mailbox: Mailbox) -> None:
    request = letter(f"{uuid4().hex}@example.com")
    for _ in range(2):
        await send(request)
    first, again = mailbox.mails(request.email)
    assert first["Message-ID"] == again["Message-ID"] == f"<{request.message_id}@rewards.mesh>"
    assert first["From"] == "Rewards <no-reply@rewards.mesh>"
    text = first.get_body(("plain",)).get_content()
    assert "    004711\n" in text
    assert "2026-01-02 03:04 UTC" in text
    assert "004711" in first.get_body(("html",)).get_content()
    assert "004711" not in str(first["Subject"])


async def test_a_code_comes_in_the_look_of_its_program(send: Send, db: Database, mailbox: Mailbox) -> None:
    branding = programs_pb2.Branding(
        display_name="Nordlicht", primary_colour="#0f5132", support_contact="hi@nord.example"
    )
    program = programs_pb2.Program(program_id=f"p-{uuid4()}", time_zone="UTC", version=1, branding=branding)
    await db.transact(lambda tx: programs.store(tx, program))
    request = letter(f"{uuid4().hex}@example.com", program.program_id)
    await send(request)
    (mail,) = mailbox.mails(request.email)
    assert mail["From"] == "Nordlicht <no-reply@rewards.mesh>"
    html = mail.get_body(("html",)).get_content()
    assert "#0f5132" in html
    assert "mailto:hi@nord.example" in html
    assert "Nordlicht, hi@nord.example" in mail.get_body(("plain",)).get_content()


@pytest.mark.parametrize("email", ["a..b@example.com", "no address", "a@b@c", "@example.com"])
async def test_what_is_no_address_is_refused(send: Send, email: str) -> None:
    assert await reason(send(letter(email))) == "RECIPIENT_INVALID"


async def test_an_outage_is_one_and_nobody_else_sends(send: Send) -> None:
    assert await reason(send(letter("a@example.com"), port=1)) == "UNAVAILABLE"
    for peer in ("ledger_svc", "gateway"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(letter("a@example.com"), peer=peer)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
