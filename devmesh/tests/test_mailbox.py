"""The mailbox: a mail sent over SMTP becomes a file, whole, private and readable back."""

import asyncio
import functools
import stat
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest_asyncio

from devmesh.layout import ROOT
from devmesh.mailbox import messages
from devmesh.process import Child, Command, Part, until_ready
from devmesh.readiness import accepts_connections
from devmesh.sockets import LOOPBACK, choose_port


@dataclass
class Mailbox:
    port: int
    folder: Path

    async def send(self, to: str, subject: str, *, bcc: str | None = None) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "rewards@example.com", to, subject
        mail.set_content("Your code is XYZZY-1.\n\n.a line that begins with a dot\nGrüße\n")
        await aiosmtplib.send(mail, hostname=LOOPBACK, port=self.port, recipients=[to, *([bcc] if bcc else [])])


@pytest_asyncio.fixture
async def mailbox(tmp_path: Path) -> AsyncIterator[Mailbox]:
    port, folder = choose_port(), tmp_path / "mail"
    argv = [sys.executable, "-m", "devmesh.mailbox", "--port", str(port), "--folder", str(folder)]
    command = Command(name="mailbox", argv=argv, log=tmp_path / "log", cwd=ROOT)
    part = Part(command=command, ready=functools.partial(accepts_connections, port))
    child = Child(command)
    await until_ready(child, part)
    yield Mailbox(port, folder)
    await child.stop()
    assert await child.exited() == 0


async def test_a_mail_arrives_whole(mailbox: Mailbox) -> None:
    await mailbox.send("ada@example.com", "Your gift")
    (mail,) = messages(mailbox.folder)
    assert (mail["To"], mail["Subject"]) == ("ada@example.com", "Your gift")
    assert mail.get_content() == "Your code is XYZZY-1.\n\n.a line that begins with a dot\nGrüße\n"


async def test_mails_are_read_in_the_order_they_came_and_by_recipient(mailbox: Mailbox) -> None:
    for number in range(3):
        await mailbox.send("ada@example.com", f"ada {number}")
    await mailbox.send("bob@example.com", "bob", bcc="Carol@example.com")
    assert [mail["Subject"] for mail in messages(mailbox.folder)] == ["ada 0", "ada 1", "ada 2", "bob"]
    assert [mail["Subject"] for mail in messages(mailbox.folder, to="carol@EXAMPLE.com")] == ["bob"]
    assert messages(mailbox.folder, to="dave@example.com") == []


async def test_many_at_once_lose_none(mailbox: Mailbox) -> None:
    await asyncio.gather(*(mailbox.send("ada@example.com", str(number)) for number in range(40)))
    assert {mail["Subject"] for mail in messages(mailbox.folder)} == {str(number) for number in range(40)}


async def test_a_mail_is_its_owners_only(mailbox: Mailbox) -> None:
    await mailbox.send("ada@example.com", "Your gift")
    assert {stat.S_IMODE(path.stat().st_mode) for path in mailbox.folder.iterdir()} == {0o600}
