"""Codes on their way to members: kept sealed until fulfillment_svc, which has the mail server, has sent them."""

import json
from typing import TYPE_CHECKING, Final
from uuid import UUID

from rewards.fulfillment.v1.messages_pb2 import SendCodeRequest

from identity_svc.members.wire import timestamp
from identity_svc.pepper import Box, Pepper
from identity_svc.programs import store as programs
from identity_svc.signin import store
from identity_svc.signin.rules import Purpose
from identity_svc.signin.store import Letter
from svckit.clients import invoke
from svckit.clock import Clock, system_clock
from svckit.db import Database
from svckit.errors import Reason, Refused

if TYPE_CHECKING:
    from rewards.fulfillment.v1.messages_pb2_grpc import MessagesServiceAsyncStub

BATCH: Final = 20


class Letters:
    """Sends letters at least once; a second copy is the same mail to whoever gets it."""

    def __init__(
        self, db: Database, pepper: Pepper, messages: "MessagesServiceAsyncStub", clock: Clock = system_clock
    ) -> None:
        self._db = db
        self._box = Box(pepper.key("letters"))
        self._messages = messages
        self._clock = clock

    def seal(self, otp_id: UUID, email: str, code: str, purpose: Purpose) -> bytes:
        """A letter as it is kept. One to nobody (`email` empty) is kept as any other, and not sent."""
        return self._box.seal(json.dumps([email, code, purpose.name]).encode(), str(otp_id))

    async def send(self) -> int:
        """A worker's step: sends what there is; how many letters. Raises UNAVAILABLE while none can be sent."""
        async with self._db.read() as tx:
            letters = await store.letters(tx, BATCH)
            now = self._clock()
            at = {one.program_id: (await programs.get(tx, one.program_id)).at(now) for one in letters}
        for letter in letters:
            if letter.expires_at > at[letter.program_id]:
                await self._send(letter)
            await self._db.transact(lambda tx, letter=letter: store.sent(tx, letter))  # type: ignore[misc]
        return len(letters)

    async def _send(self, letter: Letter) -> None:
        email, code, purpose = json.loads(self._box.open(letter.sealed, str(letter.otp_id)))
        if not email:
            return
        request = SendCodeRequest(
            message_id=str(letter.otp_id),
            program_id=letter.program_id,
            email=email,
            code=code,
            purpose=Purpose[purpose],
            expires_at=timestamp(letter.expires_at),
        )
        try:
            await invoke(self._messages.SendCode, request)
        except Refused as refused:
            # Whoever is at fault, the member can ask for another code; only an outage is waited out.
            if refused.reason in (Reason.UNAVAILABLE, Reason.TIMEOUT):
                raise
