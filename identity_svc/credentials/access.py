"""AccessService: a program's own credentials, as its partners manage them."""

from datetime import datetime, timedelta
from typing import Any

from rewards.identity.v1 import access_pb2 as pb
from rewards.identity.v1.access_pb2_grpc import AccessServiceServicer

from identity_svc.audit import store as audit
from identity_svc.audit.actor import Actor
from identity_svc.credentials import listing_store, oauth_store, revocation, store, wire
from identity_svc.credentials.assertions import public_keys
from identity_svc.credentials.issuing import Issuer
from identity_svc.credentials.keys import Issued
from identity_svc.credentials.revocation import Pause
from identity_svc.credentials.rules import Kind, Level, State
from svckit import call, paging
from svckit.clock import Clock
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused, invalid
from svckit.idempotency import Idempotency


class AccessServicer(AccessServiceServicer):
    """Who may reach a credential is checked before its key is looked at, so that a replay asks for it as well."""

    def __init__(self, db: Database, idempotency: Idempotency, issuer: Issuer, clock: Clock, pause: Pause) -> None:
        self._db = db
        self._idempotency = idempotency
        self._issuer = issuer
        self._clock = clock
        self._pause = pause

    async def RotateCredentials(
        self, request: pb.RotateCredentialsRequest, context: Any
    ) -> pb.RotateCredentialsResponse:
        """Gives a client a new secret or new keys, and answers when no gatekeeper can pass a token of before."""
        await self._reached(request.client_id)
        actor = Actor.caller()

        async def work(tx: Tx) -> pb.RotateCredentialsResponse:
            client = await store.lock(tx, request.client_id)
            if client is None or client.kind is not Kind.CLIENT or client.revoked:
                raise _unknown()
            at = client.at(self._clock())
            secret = await self._replace(tx, client, request, at)
            await audit.append(tx, actor, "credential.rotated", client.program_id, client.credential_id)
            return pb.RotateCredentialsResponse(
                client_id=client.credential_id, client_secret=secret, rotated_at=wire.timestamp(at)
            )

        answer = await self._idempotency.once(request, pb.RotateCredentialsResponse, work)
        await revocation.settle(self._pause)
        if answer.HasField("client_secret"):
            answer.client_secret = self._issuer.shown(Issued(answer.client_id, answer.client_secret))
        return answer

    async def RevokeCredential(self, request: pb.RevokeCredentialRequest, context: Any) -> pb.RevokeCredentialResponse:
        """Revokes a credential, and answers when no gatekeeper can pass it."""
        found, actor = await self._reached(request.credential_id), Actor.caller()
        level = Level(found.program_id, credential_id=found.credential_id)

        async def work(tx: Tx) -> pb.RevokeCredentialResponse:
            revoked_at = await revocation.revoke(tx, actor, level)
            return pb.RevokeCredentialResponse(credential_id=found.credential_id, revoked_at=wire.timestamp(revoked_at))

        answer = await self._idempotency.once(request, pb.RevokeCredentialResponse, work)
        await revocation.settle(self._pause)
        return answer

    async def IssueApiKey(self, request: pb.IssueApiKeyRequest, context: Any) -> pb.IssueApiKeyResponse:
        """Makes an API key that can do no more than its maker."""
        caller, actor = await self._caller(), Actor.caller()
        wanted = wire.own_key(request, call.current().principal, caller)

        async def work(tx: Tx) -> pb.IssueApiKeyResponse:
            issued = await self._issuer.api_key(tx, actor, wanted)
            return pb.IssueApiKeyResponse(key_id=issued.credential_id, api_key=issued.secret)

        answer = await self._idempotency.once(request, pb.IssueApiKeyResponse, work)
        await self._reached(answer.key_id)  # a replay may be asked for by another partner, who made a like request
        if answer.HasField("api_key"):
            answer.api_key = self._issuer.shown(Issued(answer.key_id, answer.api_key))
        return answer

    async def ListCredentials(self, request: pb.ListCredentialsRequest, context: Any) -> pb.ListCredentialsResponse:
        """Lists what the caller reaches."""
        caller = await self._caller()
        size, place = paging.size(request.page_size), paging.place(request, 1)
        after = place[0] if place else ""
        async with self._db.read() as tx:
            found = await listing_store.credentials(tx, caller.program_id, caller.partner_id, after, size + 1)
        token = paging.token(request, found[size - 1].credential_id) if len(found) > size else ""
        listed = map(wire.credential_message, found[:size])
        return pb.ListCredentialsResponse(credentials=listed, next_page_token=token)

    async def _replace(self, tx: Tx, client: State, request: pb.RotateCredentialsRequest, at: datetime) -> str | None:
        """Gives a locked client a new secret, which comes back under its veil, or the keys that the request has."""
        if client.secret_mac is None:
            if not request.jwks or request.overlap_s:
                raise invalid(jwks="must be given, and no overlapS, for a client with keys of its own")
            await oauth_store.replace_public_keys(tx, client, public_keys(request.jwks))
            return None
        if request.jwks:
            raise invalid(jwks="is for a client with keys of its own")
        (secret_mac, issued), overlap = self._issuer.secret(client), timedelta(seconds=request.overlap_s)
        await store.rotate(tx, client, secret_mac, at + overlap if overlap else None)
        return issued.secret

    async def _caller(self) -> State:
        """The caller's own credential. Raises UNAUTHENTICATED if there is none any more."""
        async with self._db.read() as tx:
            caller = await store.state(tx, call.current().principal.name)
        if caller is None:
            raise Refused(Reason.UNAUTHENTICATED, "The credential is not valid.")
        return caller

    async def _reached(self, credential_id: str) -> State:
        """The credential, if the caller may reach it. Raises NOT_FOUND, the same if it does not exist."""
        caller = await self._caller()
        async with self._db.read() as tx:
            found = await store.state(tx, credential_id)
        if found is None or not caller.reaches(found):
            raise _unknown()
        return found


def _unknown() -> Refused:
    return Refused(Reason.NOT_FOUND, "There is no such credential.")
