"""CredentialsService: plans, partners, OAuth clients, API keys and revocation, for operators."""

from typing import Any

from rewards.identity.v1 import credentials_pb2 as pb
from rewards.identity.v1.credentials_pb2_grpc import CredentialsServiceServicer

from identity_svc.audit import store as audit
from identity_svc.audit.actor import Actor
from identity_svc.credentials import keys, levels_store, listing_store, revocation, store, wire
from identity_svc.credentials.issuing import Issuer
from identity_svc.credentials.keys import Hasher, Issued
from identity_svc.credentials.revocation import Pause
from identity_svc.credentials.rules import Credential, Kind, Level
from identity_svc.credentials.signing import Keyring
from svckit import paging
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused
from svckit.idempotency import Idempotency


class CredentialsServicer(CredentialsServiceServicer):
    """For operators, who reach every program."""

    def __init__(self, db: Database, idempotency: Idempotency, issuer: Issuer, keyring: Keyring, pause: Pause) -> None:
        self._db = db
        self._idempotency = idempotency
        self._issuer = issuer
        self._keyring = keyring
        self._pause = pause

    async def PutPlan(self, request: pb.PutPlanRequest, context: Any) -> pb.PutPlanResponse:
        """Stores a plan; gatekeepers follow within half a second."""
        plan, actor = wire.plan(request.plan), Actor.caller()

        async def work(tx: Tx) -> None:
            if await store.put_plan(tx, plan):
                await audit.append(tx, actor, "plan.changed", "", plan.plan_id)

        await self._db.transact(work)
        return pb.PutPlanResponse(plan=request.plan)

    async def ListPlans(self, request: pb.ListPlansRequest, context: Any) -> pb.ListPlansResponse:
        """Lists the plans."""
        size, place = paging.size(request.page_size), paging.place(request, 1)
        async with self._db.read() as tx:
            found = await listing_store.plans(tx, place[0] if place else "", size + 1)
        token = paging.token(request, found[size - 1].plan_id) if len(found) > size else ""
        return pb.ListPlansResponse(plans=map(wire.plan_message, found[:size]), next_page_token=token)

    async def CreateClient(self, request: pb.CreateClientRequest, context: Any) -> pb.CreateClientResponse:
        """Makes an OAuth client."""
        wanted, actor = wire.client(request), Actor.caller()

        async def work(tx: Tx) -> pb.CreateClientResponse:
            issued = await self._issuer.client(tx, actor, wanted)
            return pb.CreateClientResponse(client_id=issued.credential_id, client_secret=issued.secret or None)

        answer = await self._idempotency.once(request, pb.CreateClientResponse, work)
        if answer.HasField("client_secret"):
            answer.client_secret = self._issuer.shown(Issued(answer.client_id, answer.client_secret))
        return answer

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: Any) -> pb.CreateApiKeyResponse:
        """Makes an API key."""
        wanted, actor = wire.api_key(request), Actor.caller()

        async def work(tx: Tx) -> pb.CreateApiKeyResponse:
            issued = await self._issuer.api_key(tx, actor, wanted)
            return pb.CreateApiKeyResponse(key_id=issued.credential_id, api_key=issued.secret)

        answer = await self._idempotency.once(request, pb.CreateApiKeyResponse, work)
        if answer.HasField("api_key"):
            answer.api_key = self._issuer.shown(Issued(answer.key_id, answer.api_key))
        return answer

    async def ListProgramCredentials(
        self, request: pb.ListProgramCredentialsRequest, context: Any
    ) -> pb.ListProgramCredentialsResponse:
        """Lists a program's credentials, or a partner's."""
        size, place = paging.size(request.page_size), paging.place(request, 1)
        after, partner_id = place[0] if place else "", request.partner_id or None
        async with self._db.read() as tx:
            found = await listing_store.credentials(tx, request.program_id, partner_id, after, size + 1)
        token = paging.token(request, found[size - 1].credential_id) if len(found) > size else ""
        listed = map(wire.credential_message, found[:size])
        return pb.ListProgramCredentialsResponse(credentials=listed, next_page_token=token)

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

    async def ListPartners(self, request: pb.ListPartnersRequest, context: Any) -> pb.ListPartnersResponse:
        """Lists a program's partners."""
        size, place = paging.size(request.page_size), paging.place(request, 1)
        async with self._db.read() as tx:
            found = await listing_store.partners(tx, request.program_id, place[0] if place else "", size + 1)
        token = paging.token(request, found[size - 1].partner_id) if len(found) > size else ""
        return pb.ListPartnersResponse(partners=map(wire.partner_message, found[:size]), next_page_token=token)

    async def RevokeAccess(self, request: pb.RevokeAccessRequest, context: Any) -> pb.RevokeAccessResponse:
        """Revokes a level, and answers when no gatekeeper can pass anything below it."""
        level, actor = Level(request.program_id, request.partner_id, request.credential_id), Actor.caller()
        revoked_at = await self._db.transact(lambda tx: revocation.revoke(tx, actor, level))
        await revocation.settle(self._pause)
        return pb.RevokeAccessResponse(revoked_at=wire.timestamp(revoked_at))

    async def RotateSigningKey(self, request: pb.RotateSigningKeyRequest, context: Any) -> pb.RotateSigningKeyResponse:
        """Makes a new signing key, and answers when it is published and no gatekeeper passes one that has ended."""
        actor, revoke_earlier = Actor.caller(), request.revoke_earlier
        key_id = await self._db.transact(lambda tx: self._keyring.rotate(tx, actor, revoke_earlier=revoke_earlier))
        if key_id is None:
            raise Refused(Reason.CONFLICT, "Somebody else has just made a new key.")
        await revocation.settle(self._pause)
        return pb.RotateSigningKeyResponse(key_id=key_id)

    async def RestoreAccess(self, request: pb.RestoreAccessRequest, context: Any) -> pb.RestoreAccessResponse:
        """Takes a program's or a partner's revocation back."""
        level, actor = Level(request.program_id, request.partner_id), Actor.caller()
        await self._db.transact(lambda tx: revocation.restore(tx, actor, level))
        return pb.RestoreAccessResponse()


async def create_operator(db: Database, hasher: Hasher, name: str) -> str:
    """Makes an operator's key and returns it; it is stored as an HMAC only and cannot be shown again."""
    issued = keys.new_key(keys.OPERATOR_PREFIX)
    secret_mac = hasher.mac(issued.credential_id, issued.secret)

    async def work(tx: Tx) -> None:
        await store.add_credential(tx, Credential("", issued.credential_id, Kind.OPERATOR, name, secret_mac))
        await audit.append(tx, Actor("create-operator"), "credential.created", "", issued.credential_id)

    await db.transact(work)
    return issued.secret
