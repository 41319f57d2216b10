"""CredentialsService: plans, partners, OAuth clients, API keys and revocation, for operators."""

from typing import Any

from rewards.identity.v1 import credentials_pb2 as pb
from rewards.identity.v1.credentials_pb2_grpc import CredentialsServiceServicer

from identity_svc.audit import store as audit
from identity_svc.audit.actor import Actor
from identity_svc.credentials import keys, levels_store, revocation, store, wire
from identity_svc.credentials.keys import Hasher, Issued, Veil
from identity_svc.credentials.revocation import Pause
from identity_svc.credentials.rules import Credential, Kind, Level, Wanted
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused
from svckit.idempotency import Idempotency


class CredentialsServicer(CredentialsServiceServicer):
    """A secret leaves in the answer that makes it. What is kept is its HMAC and, for as long as that answer may
    be replayed, the secret under a veil."""

    def __init__(self, db: Database, idempotency: Idempotency, hasher: Hasher, veil: Veil, pause: Pause) -> None:
        self._db = db
        self._idempotency = idempotency
        self._hasher = hasher
        self._veil = veil
        self._pause = pause

    async def PutPlan(self, request: pb.PutPlanRequest, context: Any) -> pb.PutPlanResponse:
        """Stores a plan; gatekeepers follow within half a second."""
        plan = wire.plan(request.plan)
        actor = Actor.caller()

        async def work(tx: Tx) -> None:
            if await store.put_plan(tx, plan):
                await audit.append(tx, actor, "plan.changed", "", plan.plan_id)

        await self._db.transact(work)
        return pb.PutPlanResponse(plan=request.plan)

    async def CreateClient(self, request: pb.CreateClientRequest, context: Any) -> pb.CreateClientResponse:
        """Makes an OAuth client."""
        wanted = wire.client(request)
        actor = Actor.caller()

        async def work(tx: Tx) -> pb.CreateClientResponse:
            await levels_store.hold(tx, wanted.program_id, wanted.partner_id)
            issued = keys.new_client()
            await self._add(tx, actor, Kind.CLIENT, wanted, issued)
            return pb.CreateClientResponse(client_id=issued.credential_id, client_secret=self._veil.hide(issued))

        answer = await self._idempotency.once(request, pb.CreateClientResponse, work)
        if answer.HasField("client_secret"):
            answer.client_secret = self._veil.lift(answer.client_id, answer.client_secret)
        return answer

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: Any) -> pb.CreateApiKeyResponse:
        """Makes an API key, whose prefix tells a sandbox program's from a live one's."""
        wanted = wire.api_key(request)
        actor = Actor.caller()

        async def work(tx: Tx) -> pb.CreateApiKeyResponse:
            mode = await levels_store.hold(tx, wanted.program_id, wanted.partner_id)
            issued = keys.new_key(keys.PREFIXES[mode])
            await self._add(tx, actor, Kind.API_KEY, wanted, issued)
            return pb.CreateApiKeyResponse(key_id=issued.credential_id, api_key=self._veil.hide(issued))

        answer = await self._idempotency.once(request, pb.CreateApiKeyResponse, work)
        if answer.HasField("api_key"):
            answer.api_key = self._veil.lift(answer.key_id, answer.api_key)
        return answer

    async def PutPartner(self, request: pb.PutPartnerRequest, context: Any) -> pb.PutPartnerResponse:
        """Stores a partner of a program."""
        partner, actor = wire.partner(request.partner), Actor.caller()

        async def work(tx: Tx) -> pb.PutPartnerResponse:
            await levels_store.hold(tx, partner.program_id)
            if await levels_store.put_partner(tx, partner):
                await audit.append(tx, actor, "partner.changed", partner.program_id, partner.partner_id)
            stored = await levels_store.partner(tx, partner.program_id, partner.partner_id)
            return pb.PutPartnerResponse(partner=wire.partner_message(stored))

        return await self._db.transact(work)

    async def RevokeAccess(self, request: pb.RevokeAccessRequest, context: Any) -> pb.RevokeAccessResponse:
        """Revokes a level, and answers when no gatekeeper can pass anything below it."""
        level, actor = Level(request.program_id, request.partner_id, request.credential_id), Actor.caller()
        revoked_at = await self._db.transact(lambda tx: revocation.revoke(tx, actor, level))
        await revocation.settle(self._pause)
        return pb.RevokeAccessResponse(revoked_at=wire.timestamp(revoked_at))

    async def RestoreAccess(self, request: pb.RestoreAccessRequest, context: Any) -> pb.RestoreAccessResponse:
        """Takes a program's or a partner's revocation back."""
        level, actor = Level(request.program_id, request.partner_id), Actor.caller()
        await self._db.transact(lambda tx: revocation.restore(tx, actor, level))
        return pb.RestoreAccessResponse()

    async def _add(self, tx: Tx, actor: Actor, kind: Kind, wanted: Wanted, issued: Issued) -> None:
        if not await store.has_plan(tx, wanted.plan_id):
            raise Refused(Reason.NOT_FOUND, "There is no such plan.")
        credential = Credential(
            program_id=wanted.program_id,
            credential_id=issued.credential_id,
            kind=kind,
            name=wanted.name,
            secret_mac=self._hasher.mac(issued.credential_id, issued.secret),
            scopes=wanted.scopes,
            plan_id=wanted.plan_id,
            expires_at=wanted.expires_at,
            partner_id=wanted.partner_id,
        )
        await store.add_credential(tx, credential)
        await audit.append(tx, actor, "credential.created", wanted.program_id, issued.credential_id)


async def create_operator(db: Database, hasher: Hasher, name: str) -> str:
    """Makes an operator's key and returns it; it is stored as an HMAC only and cannot be shown again."""
    issued = keys.new_key(keys.OPERATOR_PREFIX)
    secret_mac = hasher.mac(issued.credential_id, issued.secret)

    async def work(tx: Tx) -> None:
        await store.add_credential(tx, Credential("", issued.credential_id, Kind.OPERATOR, name, secret_mac))
        await audit.append(tx, Actor("create-operator"), "credential.created", "", issued.credential_id)

    await db.transact(work)
    return issued.secret
