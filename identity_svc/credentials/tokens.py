"""TokenService: OAuth 2.0 client credentials (RFC 6749 section 4.4), revocation (RFC 7009), introspection (RFC 7662),
and what clients have to know for them (RFC 8414, RFC 7517)."""

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from google.api.httpbody_pb2 import HttpBody
from rewards.identity.v1 import tokens_pb2 as pb
from rewards.identity.v1.tokens_pb2_grpc import TokenServiceServicer

from identity_svc.audit import store as audit
from identity_svc.audit.actor import Actor
from identity_svc.credentials import access_tokens, assertions, oauth, oauth_store, revocation, store
from identity_svc.credentials.access_tokens import Audience
from identity_svc.credentials.oauth import TokenQuestion, TokenRequest
from identity_svc.credentials.proofs import Proofs, Proven
from identity_svc.credentials.revocation import Pause
from identity_svc.credentials.rules import TOKEN_LIFE, Token
from identity_svc.credentials.signing import Keyring
from identity_svc.surface import SCOPES
from svckit import call
from svckit.clock import Clock, new_id
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused

_NOT_KEPT: Final = {"cache-control": "no-store", "pragma": "no-cache"}
# Shorter than a new key waits before it signs.
_KEPT: Final = {"cache-control": "public, max-age=30"}
_BEARER: Final = "Bearer"
_CHALLENGE: Final = 'Basic realm="rewards-mesh"'
_PROOFS: Final = ("client_secret_basic", "client_secret_post", "private_key_jwt")


class TokenServicer(TokenServiceServicer):
    """Tokens are signed with a key of `keyring` for `audience`."""

    def __init__(
        self, db: Database, proofs: Proofs, keyring: Keyring, audience: Audience, clock: Clock, pause: Pause
    ) -> None:
        self._db = db
        self._proofs = proofs
        self._keyring = keyring
        self._audience = audience
        self._clock = clock
        self._pause = pause

    async def IssueToken(self, request: pb.IssueTokenRequest, context: Any) -> pb.IssueTokenResponse:
        """Gives the client its token: the one it has, or a new one when little of it is left."""
        with _answering():
            asked = oauth.token_request(*_sent(request.form))
            newest = await self._keyring.newest()
            live = {key.key_id for key in await self._keyring.live()}
            token, left = await self._db.transact(lambda tx: self._token(tx, asked, newest.key_id, live))
        key = await self._keyring.find(token.key_id)
        if key is None:
            # It was retired in this moment.
            raise Refused(Reason.UNAVAILABLE, "The signing key has just changed.", retry_after_s=1)
        return pb.IssueTokenResponse(
            access_token=access_tokens.sign(token, key, self._audience),
            token_type=_BEARER,
            expires_in=int(left.total_seconds()),
            scope=token.scope,
        )

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Any) -> pb.RevokeTokenResponse:
        """Revokes the client's token, and answers when no gatekeeper can pass it."""
        with _answering():
            asked = oauth.token_question(*_sent(request.form))
            token = await access_tokens.verified(asked.token, self._keyring, self._audience)
            await self._db.transact(lambda tx: self._revoke(tx, asked, token))
        if token is not None:
            await revocation.settle(self._pause)
        return pb.RevokeTokenResponse()

    async def IntrospectToken(self, request: pb.IntrospectTokenRequest, context: Any) -> pb.IntrospectTokenResponse:
        """Tells what the client's token is worth, as a gatekeeper would find that asks the database."""
        with _answering():
            asked = oauth.token_question(*_sent(request.form))
            token = await access_tokens.verified(asked.token, self._keyring, self._audience)
            active = await self._db.transact(lambda tx: self._is_active(tx, asked, token))
        if token is None or not active:
            return pb.IntrospectTokenResponse(active=False)
        return pb.IntrospectTokenResponse(
            active=True,
            scope=token.scope,
            client_id=token.credential_id,
            token_type=_BEARER,
            exp=int(token.expires_at.timestamp()),
            iat=int(token.issued_at.timestamp()),
            sub=token.member_id or token.credential_id,
            aud=self._audience.resource,
            iss=self._audience.issuer,
            jti=str(token.token_id),
        )

    async def GetServerMetadata(
        self, request: pb.GetServerMetadataRequest, context: Any
    ) -> pb.GetServerMetadataResponse:
        """Tells where everything is."""
        call.current().reply_headers.update(_KEPT)
        return pb.GetServerMetadataResponse(
            issuer=self._audience.issuer,
            token_endpoint=self._audience.token,
            jwks_uri=self._audience.keys,
            revocation_endpoint=self._audience.revocation,
            introspection_endpoint=self._audience.introspection,
            scopes_supported=sorted(SCOPES),
            # The RFC requires one and forbids empty lists; this one says that nothing comes that way.
            response_types_supported=["none"],
            grant_types_supported=[oauth.GRANT_TYPE],
            token_endpoint_auth_methods_supported=_PROOFS,
            token_endpoint_auth_signing_alg_values_supported=assertions.ALL_ALGORITHMS,
            revocation_endpoint_auth_methods_supported=_PROOFS,
            revocation_endpoint_auth_signing_alg_values_supported=assertions.ALL_ALGORITHMS,
            introspection_endpoint_auth_methods_supported=_PROOFS,
            introspection_endpoint_auth_signing_alg_values_supported=assertions.ALL_ALGORITHMS,
        )

    async def GetSigningKeys(self, request: pb.GetSigningKeysRequest, context: Any) -> pb.GetSigningKeysResponse:
        """Lists the public keys, also one that does not sign yet."""
        call.current().reply_headers.update(_KEPT)
        keys = await self._keyring.live()
        if not keys:
            keys = [await self._keyring.newest()]
        answer = pb.GetSigningKeysResponse()
        for key in keys:
            x = urlsafe_b64encode(key.public.public_bytes_raw()).decode().rstrip("=")
            answer.keys.add(kty="OKP", crv="Ed25519", x=x, kid=key.key_id, use="sig", alg=access_tokens.ALGORITHM)
        return answer

    async def _token(self, tx: Tx, asked: TokenRequest, key_id: str, live: set[str]) -> tuple[Token, timedelta]:
        """The client's token and how long it still lives."""
        now = self._clock()
        client, epoch = await self._proofs.client(tx, asked.proof, now)
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
        if stored is None or not stored.serves_for(offered) or stored.key_id not in live:
            await store.replace_token(tx, offered, seen=None if stored is None else stored.token_id)
            stored = await store.token(tx, client.program_id, client.credential_id, scope) or offered
        return stored, stored.expires_at - at

    async def _revoke(self, tx: Tx, asked: TokenQuestion, token: Token | None) -> None:
        now = self._clock()
        client, _ = await self._proofs.client(tx, asked.proof, now)
        if token is None:
            return
        if token.program_id != client.program_id or token.credential_id != client.credential_id:
            raise oauth.refused("invalid_grant", "The token was issued to another client.")
        if await oauth_store.revoke_token(tx, token, token.expires_at - client.clock_offset):
            actor = Actor(client.credential_id, Actor.caller().request_id)
            await audit.append(tx, actor, "token.revoked", token.program_id, str(token.token_id))

    async def _is_active(self, tx: Tx, asked: TokenQuestion, token: Token | None) -> bool:
        now = self._clock()
        proven: Proven = await self._proofs.client(tx, asked.proof, now)
        if token is None:
            return False
        client = await store.state(tx, proven.client.credential_id, token.token_id)
        return client is not None and client.honours(token, now) and client.at(now) < token.expires_at


@contextmanager
def _answering() -> Iterator[None]:
    """Around a request that shows who its client is: nobody keeps the answer, and a 401 says how to try again."""
    ours = call.current()
    ours.reply_headers.update(_NOT_KEPT)
    try:
        yield
    except Refused as refused:
        if refused.reason == Reason.UNAUTHENTICATED:
            ours.reply_headers["www-authenticate"] = _CHALLENGE
        raise


def _sent(form: HttpBody) -> tuple[str, bytes, str]:
    return form.content_type, form.data, call.current().metadata.get("authorization", "")
