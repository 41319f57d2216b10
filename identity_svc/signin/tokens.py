"""Members' own access tokens. They are the asking credential's as well: they end with it, and spend by its plan."""

from identity_svc.credentials import access_tokens, store
from identity_svc.credentials.access_tokens import Audience
from identity_svc.credentials.rules import Token
from identity_svc.credentials.signing import Keyring
from identity_svc.members.registry import Registry
from identity_svc.signin.rules import MEMBER_TOKEN_LIFE, check_may_sign_in
from svckit.clock import Clock, new_id, system_clock
from svckit.db import Database
from svckit.errors import Reason, Refused


class MemberTokens:
    """Signs tokens with the newest key of `keyring` for `audience`."""

    def __init__(
        self, db: Database, registry: Registry, keyring: Keyring, audience: Audience, clock: Clock = system_clock
    ) -> None:
        self._db = db
        self._registry = registry
        self._keyring = keyring
        self._audience = audience
        self._clock = clock

    async def prepare(self) -> None:
        """Makes sure that there is a key, before a code is used up for a token. Raises UNAVAILABLE."""
        await self._keyring.newest()

    async def issue(self, program_id: str, credential_id: str, member_id: str) -> tuple[str, str]:
        """A token of the member, or of whom it was merged into, asked for by a credential; and that member's id.

        Raises MEMBER_NOT_ACTIVE, OTP_INVALID if the member was erased since, UNAUTHENTICATED if the credential ended.
        """
        async with self._db.read() as tx:
            opened = await self._registry.look_up(tx, program_id, member_id)
            credential = await store.state(tx, credential_id)
        if opened is None:
            raise Refused(Reason.OTP_INVALID, "The code is wrong or was used.")
        check_may_sign_in(opened.member.status)
        now = self._clock()
        if credential is None or credential.ended(now):
            raise Refused(Reason.UNAUTHENTICATED, "The credential is not valid.")
        key = await self._keyring.newest()
        at = (now + credential.clock_offset).replace(microsecond=0)
        token = Token(
            program_id=credential.program_id,
            credential_id=credential.credential_id,
            scope="",
            epoch=credential.epoch,
            token_id=new_id(),
            key_id=key.key_id,
            issued_at=at,
            expires_at=at + MEMBER_TOKEN_LIFE,
            member_id=opened.member.member_id,
        )
        return access_tokens.sign(token, key, self._audience), token.member_id
