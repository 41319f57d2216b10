"""MembersService. A change is committed first, then the ledger is told of it, then the call is answered; a
replay tells the ledger as well, so that a retry completes what a crash cut off."""

from dataclasses import replace
from typing import Any

from rewards.identity.v1 import members_pb2 as pb
from rewards.identity.v1.members_pb2_grpc import MembersServiceServicer
from rewards.identity.v1.sealed_pb2 import SealedAnswer

from identity_svc import tables
from identity_svc.audit import store as audit
from identity_svc.audit.actor import Actor
from identity_svc.members import wire
from identity_svc.members.answers import Answers
from identity_svc.members.registry import Registry
from identity_svc.members.vault import PASSWORD
from identity_svc.programs import store as programs
from identity_svc.signin import store as signin
from identity_svc.signin.passwords import Passwords
from identity_svc.signin.rules import GUESSES, PASSWORDS
from svckit import call, paging
from svckit.clock import Clock, new_id, system_clock
from svckit.db import Database, Tx
from svckit.idempotency import Idempotency
from svckit.outbox import Draft


class MembersServicer(MembersServiceServicer):
    """Answers are kept sealed under their keys and opened for each caller, the first and every replay alike."""

    def __init__(
        self,
        db: Database,
        idempotency: Idempotency,
        registry: Registry,
        passwords: Passwords,
        answers: Answers,
        clock: Clock = system_clock,
    ) -> None:
        self._db = db
        self._idempotency = idempotency
        self._registry = registry
        self._passwords = passwords
        self._answers = answers
        self._clock = clock

    async def CreateProfileWithAttributes(
        self, request: pb.CreateProfileWithAttributesRequest, context: Any
    ) -> pb.CreateProfileWithAttributesResponse:
        """Makes a member."""
        program_id, generated_id = call.current().program_id, f"m_{new_id().hex}"
        wanted = wire.new_member(request, program_id, generated_id, self._clock())

        async def work(tx: Tx) -> SealedAnswer:
            program = await programs.get(tx, program_id)
            opened = await self._registry.create(tx, replace(wanted, created_at=program.at(wanted.created_at)))
            member = opened.member
            data = {"memberId": member.member_id}
            await tables.outbox.append(
                tx, Draft(program_id, "member.created", member.member_id, member.created_at, data)
            )
            return opened.seal_answer(pb.CreateProfileWithAttributesResponse(member=wire.message(member)))

        sealed = await self._idempotency.once(request, SealedAnswer, work)
        return await self._answers.settled(sealed, pb.CreateProfileWithAttributesResponse)

    async def GetProfile(self, request: pb.GetProfileRequest, context: Any) -> pb.GetProfileResponse:
        """Reads a member."""
        async with self._db.read() as tx:
            opened = await self._registry.get(tx, call.current().program_id, request.member_id)
        return pb.GetProfileResponse(member=wire.message(opened.member))

    async def GetProfileByAttribute(
        self, request: pb.GetProfileByAttributeRequest, context: Any
    ) -> pb.GetProfileByAttributeResponse:
        """Finds a member by what only one can have."""
        async with self._db.read() as tx:
            opened = await self._registry.find(tx, call.current().program_id, request.name, request.value)
        return pb.GetProfileByAttributeResponse(member=wire.message(opened.member))

    async def ListMembers(self, request: pb.ListMembersRequest, context: Any) -> pb.ListMembersResponse:
        """Finds members by attributes."""
        after, size = paging.place(request, 1), paging.size(request.page_size)
        program_id, last = call.current().program_id, after[0] if after else ""
        async with self._db.read() as tx:
            found = await self._registry.page(tx, program_id, request.filter, last, size + 1)
        page = [opened.member for opened in found[:size]]
        token = paging.token(request, page[-1].member_id) if len(found) > size else ""
        return pb.ListMembersResponse(members=map(wire.message, page), next_page_token=token)

    async def UpdateProfile(self, request: pb.UpdateProfileRequest, context: Any) -> pb.UpdateProfileResponse:
        """Changes a member's attributes, status or password."""
        program_id, actor = call.current().program_id, Actor.caller()
        change = wire.change(request)
        password = await self._passwords.hash(request.password) if request.HasField("password") else None

        async def work(tx: Tx) -> SealedAnswer:
            opened = await self._registry.change(tx, program_id, request.member_id, change, actor)
            member_id = opened.member.member_id
            if password is not None:
                await signin.set_password(tx, program_id, member_id, opened.box.seal(PASSWORD, password.encode()))
                await audit.append(tx, actor, "member.password", program_id, member_id)
            if password is not None or change.status is not None:
                # Whoever failed too often may try again when the program says so.
                await signin.forgive(tx, program_id, [GUESSES.kind, PASSWORDS.kind], member_id)
            return opened.seal_answer(pb.UpdateProfileResponse(member=wire.message(opened.member)))

        sealed = await self._idempotency.once(request, SealedAnswer, work)
        return await self._answers.settled(sealed, pb.UpdateProfileResponse)

    async def LinkSubRelation(self, request: pb.LinkSubRelationRequest, context: Any) -> pb.LinkSubRelationResponse:
        """Links a relation to a member."""
        program_id = call.current().program_id
        relation = wire.relation(request)

        async def work(tx: Tx) -> SealedAnswer:
            at = (await programs.get(tx, program_id)).at(self._clock())
            opened = await self._registry.link(tx, program_id, request.member_id, relation, at)
            return opened.seal_answer(pb.LinkSubRelationResponse(relations=wire.relations(opened.member)))

        sealed = await self._idempotency.once(request, SealedAnswer, work)
        return await self._answers.settled(sealed, pb.LinkSubRelationResponse)

    async def GetSubRelations(self, request: pb.GetSubRelationsRequest, context: Any) -> pb.GetSubRelationsResponse:
        """Reads a member's relations."""
        async with self._db.read() as tx:
            opened = await self._registry.get(tx, call.current().program_id, request.member_id)
        return pb.GetSubRelationsResponse(relations=wire.relations(opened.member))

    async def UnlinkSubRelation(
        self, request: pb.UnlinkSubRelationRequest, context: Any
    ) -> pb.UnlinkSubRelationResponse:
        """Ends a relation."""
        program_id = call.current().program_id
        relation = wire.relation(request)

        async def work(tx: Tx) -> SealedAnswer:
            at = (await programs.get(tx, program_id)).at(self._clock())
            opened = await self._registry.unlink(tx, program_id, request.member_id, relation, at)
            return opened.seal_answer(pb.UnlinkSubRelationResponse(relations=wire.relations(opened.member)))

        sealed = await self._idempotency.once(request, SealedAnswer, work)
        return await self._answers.settled(sealed, pb.UnlinkSubRelationResponse)
