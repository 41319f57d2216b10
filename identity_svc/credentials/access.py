"""AccessService: a program's own credentials, as its partners manage them."""

from datetime import timedelta
from typing import Any

from rewards.identity.v1 import access_pb2 as pb
from rewards.identity.v1.access_pb2_grpc import AccessServiceServicer

from identity_svc.audit import store as audit
from identity_svc.audit.actor import Actor
from identity_svc.credentials import keys, revocation, store, wire
from identity_svc.credentials.keys import Hasher, Veil
from identity_svc.credentials.revocation import Pause
from identity_svc.credentials.rules import Kind, Level, State
from svckit import call
from svckit.clock import Clock
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused
from svckit.idempotency import Idempotency


class AccessServicer(AccessServiceServicer):
    """Who may reach a credential is checked before its key is looked at, so that a replay asks for it as well."""

    def __init__(
        self, db: Database, idempotency: Idempotency, hasher: Hasher, veil: Veil, clock: Clock, pause: Pause
    ) -> None:
        self._db = db
        self._idempotency = idempotency
        self._hasher = hasher
        self._veil = veil
        self._clock = clock
        self._pause = pause

    async def RotateCredentials(
        self, request: pb.RotateCredentialsRequest, context: Any
    ) -> pb.RotateCredentialsResponse:
        """Gives a client a new secret, and answers when no gatekeeper can pass a token of before."""
        await self._reached(request.client_id)
        actor, overlap = Actor.caller(), timedelta(seconds=request.overlap_s)

        async def work(tx: Tx) -> pb.RotateCredentialsResponse:
            client = await store.lock(tx, request.client_id)
            if client is None or client.kind is not Kind.CLIENT or client.revoked:
                raise _unknown()
            issued, at = keys.new_secret(client.credential_id), client.at(self._clock())
            secret_mac = self._hasher.mac(issued.credential_id, issued.secret)
            await store.rotate(tx, client, secret_mac, at + overlap if overlap else None)
            await audit.append(tx, actor, "credential.rotated", client.program_id, client.credential_id)
            return pb.RotateCredentialsResponse(
                client_id=client.credential_id, client_secret=self._veil.hide(issued), rotated_at=wire.timestamp(at)
            )

        answer = await self._idempotency.once(request, pb.RotateCredentialsResponse, work)
        await revocation.settle(self._pause)
        if answer.HasField("client_secret"):
            answer.client_secret = self._veil.lift(answer.client_id, answer.client_secret)
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

    async def _reached(self, credential_id: str) -> State:
        """The credential, if the caller may reach it. Raises NOT_FOUND, the same if it does not exist."""
        async with self._db.read() as tx:
            caller = await store.state(tx, call.current().principal.name)
            found = await store.state(tx, credential_id)
        if caller is None or found is None or not caller.reaches(found):
            raise _unknown()
        return found


def _unknown() -> Refused:
    return Refused(Reason.NOT_FOUND, "There is no such credential.")
