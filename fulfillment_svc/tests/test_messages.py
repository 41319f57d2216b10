"""Codes by mail, through the real server to a real mail server."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import grpc
import pytest
from rewards.fulfillment.v1 import messages_pb2 as pb
from rewards.fulfillment.v1 import messages_pb2_grpc

from devmesh.pki import Authority
from fulfillment_svc.messages.servicer import MessagesServicer
from fulfillment_svc.redemptions.mail import Mailer
from fulfillment_svc.tests.harness import SENDER, reason
from fulfillment_svc.tests.outside import Mailbox
from svckit.server import Served
from svckit.testing import calling, serving


def letter(email: str) -> pb.SendCodeRequest:
    request = pb.SendCodeRequest(message_id=str(uuid4()), email=email, code="004711", purpose="sign in")
    request.expires_at.FromDatetime(datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    return request


def served(port: int) -> list[Served]:
    return [
        Served(
            pb.DESCRIPTOR.services_by_name["MessagesService"],
            messages_pb2_grpc.add_MessagesServiceServicer_to_server,
            MessagesServicer(Mailer("127.0.0.1", port, SENDER)),
        )
    ]


async def send(authority: Authority, port: int, request: pb.SendCodeRequest, peer: str = "identity_svc") -> Any:
    async with (
        serving(authority.issue("fulfillment_svc"), served(port)) as address,
        calling(address, "fulfillment_svc", authority.issue(peer)) as channel,
    ):
        return await messages_pb2_grpc.MessagesServiceStub(channel).SendCode(request, timeout=10)


async def test_a_code_is_mailed_as_text_and_never_in_the_subject(authority: Authority, mailbox: Mailbox) -> None:
    request = letter(f"{uuid4().hex}@example.com")
    for _ in range(2):
        await send(authority, mailbox.port, request)
    first, again = mailbox.mails(request.email)
    assert first["Message-ID"] == again["Message-ID"] == f"<{request.message_id}@rewards.mesh>"
    assert "    004711\n" in first.get_content()
    assert "2026-01-02 03:04 UTC" in first.get_content()
    assert "004711" not in str(first["Subject"])


@pytest.mark.parametrize("email", ["a..b@example.com", "no address", "a@b@c", "@example.com"])
async def test_what_is_no_address_is_refused(authority: Authority, mailbox: Mailbox, email: str) -> None:
    assert await reason(send(authority, mailbox.port, letter(email))) == "RECIPIENT_INVALID"


async def test_an_outage_is_one_and_nobody_else_sends(authority: Authority, mailbox: Mailbox) -> None:
    assert await reason(send(authority, 1, letter("a@example.com"))) == "UNAVAILABLE"
    for peer in ("ledger_svc", "gateway"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(authority, mailbox.port, letter("a@example.com"), peer)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
