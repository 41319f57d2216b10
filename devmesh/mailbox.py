"""The local mailbox: an SMTP server on loopback that keeps each mail as a file instead of delivering it. What goes to a
domain under `.invalid`, which never exists (RFC 6761), it refuses for good.

`python -m devmesh.mailbox --port 2525 --folder .mesh/mail` serves; `messages(folder)` reads what has come.
"""

import argparse
import asyncio
import functools
import signal
import time
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from devmesh.private import write_private
from devmesh.sockets import LOOPBACK

_MAIL_MAX_BYTES = 4 * 1024 * 1024


class Mailbox:
    """Receives mail for every address. A file appears under its name only when the mail in it is whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        """Take a recipient, or none that no mail can ever reach. The name is what aiosmtpd calls."""
        if address.lower().endswith(".invalid"):
            return "550 5.1.2 There is no such domain"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep one mail. The name is what aiosmtpd calls."""
        # The envelope is who it was really sent to, which the headers need not say.
        recipients = "".join(f"X-Envelope-To: {address}\r\n" for address in envelope.rcpt_tos)
        name = f"{time.time_ns():020d}.eml"
        await asyncio.to_thread(
            write_private, self._folder / name, recipients.encode() + (envelope.original_content or b"")
        )
        return "250 OK"


def messages(folder: Path, to: str | None = None) -> list[EmailMessage]:
    """The mails received, oldest first; with `to`, only those sent to this address (case does not count)."""
    mails = (_read(path) for path in sorted(folder.glob("*.eml")))
    return [mail for mail in mails if to is None or to.lower() in _recipients(mail)]


def _read(path: Path) -> EmailMessage:
    # On the wire lines end in CRLF; who reads the text wants the line ends the sender wrote.
    return message_from_bytes(path.read_bytes().replace(b"\r\n", b"\n"), policy=policy.default)


def _recipients(mail: EmailMessage) -> set[str]:
    return {str(address).lower() for address in mail.get_all("X-Envelope-To", [])}


async def serve(port: int, folder: Path) -> None:
    """Receive mail until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    session = functools.partial(
        SMTP, Mailbox(folder), hostname="mailbox", data_size_limit=_MAIL_MAX_BYTES, enable_SMTPUTF8=True, loop=loop
    )
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = await loop.create_server(session, LOOPBACK, port)
    async with server:
        await stopping.wait()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m devmesh.mailbox", description="A mailbox for every address.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.folder))


if __name__ == "__main__":
    main()
