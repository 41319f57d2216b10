"""TokenService: OAuth 2.0 client credentials (RFC 6749 section 4.4)."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from rewards.identity.v1 import tokens_pb2 as pb
from rewards.identity.v1.tokens_pb2_grpc import TokenServiceServicer

from identity_svc.credentials import access_tokens, oauth, store
from identity_svc.credentials.access_tokens import Audience
from identity_svc.credentials.keys import Hasher
from identity_svc.credentials.oauth import TokenRequest
from identity_svc.credentials.rules import TOKEN_LIFE, Kind, State, Token
from identity_svc.credentials.signing import Keyring
from svckit import call
from svckit.clock import Clock, new_id, system_clock
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused

_HEADERS: Final = {"cache-control": "no-store", "pragma": "no-cache"}
_BEARER: Final = "Bearer"
_CHALLENGE: Final = 'Basic realm="rewards-mesh"'


class TokenServicer(TokenServiceServicer):
    """Tokens are signed with the newest key of `keyring` for `audience`."""

    def __init__(
        self, db: Database, hasher: Hasher, keyring: Keyring, audience: Audience, clock: Clock = system_clock
    ) -> None:
        self._db = db
        self._hasher = hasher
        self._keyring = keyring
        self._audience = audience
        self._clock = clock

    async def IssueToken(self, request: pb.IssueTokenRequest, context: Any) -> pb.IssueTokenResponse:
        """Gives the client its token: the one it has, or a new one when little of it is left."""
        ours = call.current()
        ours.reply_headers.update(_HEADERS)
        try:
            sent = request.form
            asked = oauth.token_request(sent.content_type, sent.data, ours.metadata.get("authorization", ""))
            newest = await self._keyring.newest()
            token, left = await self._db.transact(lambda tx: self._token(tx, asked, newest.key_id))
        except Refused as refused:
            if refused.reason == Reason.UNAUTHENTICATED:
                ours.reply_headers["www-authenticate"] = _CHALLENGE
            raise
        return await self._answer(token, left)

    async def _token(self, tx: Tx, asked: TokenRequest, key_id: str) -> tuple[Token, timedelta]:
        """The client's token and how long it still lives."""
        now = self._clock()
        client = await store.state(tx, asked.client_id)
        epoch = self._epoch(client, asked, now)
        if client is None or epoch is None:
            raise oauth.refused("invalid_client", "The client is unknown, or its secret is wrong.")
        # RFC 7519 counts whole seconds, and the client's remaining seconds must agree with them.
        at = client.at(now).replace(microsecond=0)
        scope = oauth.grant(client.scopes, asked.scope)
        expires_at = at + TOKEN_LIFE
        offered = Token(client.program_id, client.credential_id, scope, epoch, new_id(), key_id, at, expires_at)
        if epoch != client.epoch and client.previous_until is not None:
            # For the secret of before a rotation: good for no longer than that secret is, and not kept.
            offered = replace(offered, expires_at=min(expires_at, client.previous_until.replace(microsecond=0)))
            return offered, offered.expires_at - at
        stored = await store.token(tx, client.program_id, client.credential_id, scope)
        if stored is None or not stored.serves_for(offered):
            await store.replace_token(tx, offered, seen=None if stored is None else stored.token_id)
            stored = await store.token(tx, client.program_id, client.credential_id, scope) or offered
        return stored, stored.expires_at - at

    def _epoch(self, state: State | None, asked: TokenRequest, now: datetime) -> int | None:
        """The epoch of the tokens that the client's secret is worth; None if it is worth none."""
        # An unknown client and a wrong secret cost the same and are told apart by nobody.
        client = state if state is not None and state.kind is Kind.CLIENT else None
        current, previous = (None, None) if client is None else (client.secret_mac, client.previous_mac)
        is_current = self._hasher.matches(asked.client_id, asked.client_secret, current)
        is_previous = self._hasher.matches(asked.client_id, asked.client_secret, previous)
        if client is None or client.ended(now):
            return None
        if is_current:
            return client.epoch
        return client.epoch - 1 if is_previous and client.overlaps(now) else None

    async def _answer(self, token: Token, left: timedelta) -> pb.IssueTokenResponse:
        key = await self._keyring.find(token.key_id)
        if key is None:
            # Another process made this key a moment ago; looking again must wait a little.
            raise Refused(Reason.UNAVAILABLE, "The signing key is not known here yet.", retry_after_s=1)
        return pb.IssueTokenResponse(
            access_token=access_tokens.sign(token, key, self._audience),
            token_type=_BEARER,
            expires_in=int(left.total_seconds()),
            scope=token.scope,
        )
