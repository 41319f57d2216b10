"""One-time codes: made, sent on their way, tried and used up (G47)."""

import unicodedata
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from identity_svc.members.registry import Registry
from identity_svc.pepper import Pepper, mac
from identity_svc.programs import store as programs
from identity_svc.signin import rules, store
from identity_svc.signin.letters import Letters
from identity_svc.signin.rules import Code, Purpose, Verdict
from svckit.clock import Clock, new_id, system_clock
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused, invalid


class Made(NamedTuple):
    """A new code. `shown` is the code itself where the program is a sandbox, else None."""

    otp_id: UUID
    expires_at: datetime
    shown: str | None


class Codes:
    """What is kept of a code is an HMAC. A code for nobody is made, sent nowhere and tried as any other."""

    def __init__(
        self, db: Database, pepper: Pepper, registry: Registry, letters: Letters, clock: Clock = system_clock
    ) -> None:
        self._db = db
        self._key = pepper.key("one-time codes")
        self._addresses = pepper.key("addresses of one-time codes")
        self._registry = registry
        self._letters = letters
        self._clock = clock

    async def make(self, program_id: str, member_id: str, purpose: Purpose, *, by_mail: bool) -> Made:
        """Makes a code and the letter that brings it. Raises OTP_LOCKED, INVALID_REQUEST."""
        text, otp_id = rules.new_code(), new_id()

        async def work(tx: Tx) -> Made:
            program = await programs.get(tx, program_id)
            if not by_mail and not program.sandbox:
                raise invalid(channel="is not one of this program's")
            at = program.at(self._clock())
            opened = await self._registry.look_up(tx, program_id, member_id)
            email = opened.member.email if opened is not None and by_mail else ""
            owner = member_id if opened is None else opened.member.member_id
            # Counted for a member without an address, and for nobody, in as many statements.
            await self._spend(tx, program_id, (owner, self._blind(email or owner)), at)
            kept = rules.code_mac(self._key, program_id, otp_id, purpose, text)
            code = Code(program_id, otp_id, owner, kept, opened is None, at + rules.CODE_LIFE)
            await store.add(tx, code, self._letters.seal(otp_id, email, text, purpose))
            return Made(otp_id, code.expires_at, text if program.sandbox else None)

        return await self._db.transact(work)

    async def verify(self, program_id: str, otp_id: UUID, purpose: Purpose, sent: str) -> str:
        """The member whose code it is, which is used up with that. Raises OTP_INVALID, OTP_EXPIRED, OTP_LOCKED."""
        sent_mac = rules.code_mac(self._key, program_id, otp_id, purpose, sent)

        async def work(tx: Tx) -> tuple[Verdict, int, str]:
            at = (await programs.get(tx, program_id)).at(self._clock())
            code, tries = await store.count_try(tx, program_id, otp_id)
            if code is None:
                return Verdict.WRONG, 0, ""
            if code.expires_at <= at:
                return Verdict.EXPIRED, 0, ""
            if not tries:
                return Verdict.LOCKED, int((code.expires_at - at).total_seconds()) + 1, ""
            wait_s = await store.spend(tx, program_id, rules.GUESSES, code.member_id, at)
            if wait_s is not None:
                return Verdict.LOCKED, wait_s, ""
            if not rules.is_right(code, sent_mac):
                return Verdict.WRONG, 0, ""
            await store.use(tx, code, at)
            await store.forgive(tx, program_id, [rules.GUESSES.kind], code.member_id)
            return Verdict.RIGHT, 0, code.member_id

        # A wrong try is no refusal in there: what it cost would be rolled back.
        verdict, wait_s, member_id = await self._db.transact(work)
        rules.check(verdict, wait_s)
        return member_id

    async def _spend(self, tx: Tx, program_id: str, subjects: tuple[str, ...], at: datetime) -> None:
        """Counts a code for its member and for its address. Raises OTP_LOCKED."""
        for subject in subjects:
            wait_s = await store.spend(tx, program_id, rules.SENDS, subject, at)
            if wait_s is not None:
                raise Refused(Reason.OTP_LOCKED, "Too many codes were sent.", retry_after_s=wait_s)

    def _blind(self, address: str) -> str:
        """An address as the name of something that is counted; no member's id begins so."""
        return "=" + mac(self._addresses, unicodedata.normalize("NFC", address).casefold()).hex()
