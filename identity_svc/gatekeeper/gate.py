"""Finds out whose credential a request shows, by its text and by what the database says of it."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final

from identity_svc.credentials import access_tokens, keys
from identity_svc.credentials.access_tokens import Audience
from identity_svc.credentials.keys import Hasher
from identity_svc.credentials.rules import Token
from identity_svc.credentials.signing import Keyring
from identity_svc.gatekeeper import rules
from identity_svc.gatekeeper.rules import Caller
from identity_svc.gatekeeper.states import States
from svckit.clock import Clock, system_clock

CAPACITY: Final = 10_000


class Gate:
    """Authenticates callers. Good signatures are remembered, by the token's hash; what they are worth never is."""

    def __init__(
        self, states: States, hasher: Hasher, keyring: Keyring, audience: Audience, clock: Clock = system_clock
    ) -> None:
        self._states = states
        self._hasher = hasher
        self._keyring = keyring
        self._audience = audience
        self._clock = clock
        self._verified: dict[bytes, Token] = {}

    async def caller(self, headers: Mapping[str, str]) -> Caller:
        """Who calls. Raises UNAUTHENTICATED, TOKEN_EXPIRED, UNAVAILABLE."""
        text, now = rules.credential(headers), self._clock()
        if text.startswith(keys.KEY_PREFIX):
            return await self._by_key(text, now)
        return await self._by_token(text, now)

    async def _by_key(self, text: str, now: datetime) -> Caller:
        credential_id = keys.credential_id(text)
        if credential_id is None:
            raise rules.unauthenticated()
        state = await self._states.get(credential_id)
        matches = self._hasher.matches(credential_id, text, None if state is None else state.secret_mac)
        return rules.by_key(state, now, matches=matches)

    async def _by_token(self, text: str, now: datetime) -> Caller:
        token = await self._token(text)
        if token is None:
            raise rules.unauthenticated()
        return rules.by_token(await self._states.get(token.credential_id, token.token_id), token, now)

    async def _token(self, text: str) -> Token | None:
        digest = sha256(text.encode()).digest()
        token = self._verified.get(digest)
        if token is not None:
            # Also for a remembered token its key must still be one of ours.
            return None if await self._keyring.find(token.key_id) is None else token
        token = await access_tokens.verified(text, self._keyring, self._audience)
        if token is not None:
            if len(self._verified) >= CAPACITY:
                del self._verified[next(iter(self._verified))]
            self._verified[digest] = token
        return token
