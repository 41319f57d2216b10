"""MergesService. A merge is decided and kept here first; the ledger moves the points when it is told of the alias,
before the call is answered, or by the worker that tells what a crash cut off."""

from typing import Any

from rewards.identity.v1 import merges_pb2 as pb
from rewards.identity.v1.merges_pb2_grpc import MergesServiceServicer
from rewards.identity.v1.sealed_pb2 import SealedAnswer

from identity_svc import tables
from identity_svc.audit.actor import Actor
from identity_svc.members import wire
from identity_svc.members.answers import Answers
from identity_svc.members.merges import Merges
from identity_svc.programs import store as programs
from svckit import call
from svckit.clock import Clock, system_clock
from svckit.db import Database, Tx
from svckit.idempotency import Idempotency
from svckit.outbox import Draft


class MergesServicer(MergesServiceServicer):
    """Merges members and undoes that."""

    def __init__(
        self, db: Database, idempotency: Idempotency, merges: Merges, answers: Answers, clock: Clock = system_clock
    ) -> None:
        self._db = db
        self._idempotency = idempotency
        self._merges = merges
        self._answers = answers
        self._clock = clock

    async def MergeProfiles(self, request: pb.MergeProfilesRequest, context: Any) -> pb.MergeProfilesResponse:
        """Merges a member into another."""
        program_id, actor, merged_id = call.current().program_id, Actor.caller(), request.merged_id
        await self._answers.tell(request.survivor_id, merged_id)

        async def work(tx: Tx) -> SealedAnswer:
            at = (await programs.get(tx, program_id)).at(self._clock())
            opened, new = await self._merges.merge(tx, program_id, request.survivor_id, merged_id, actor, at)
            survivor_id = opened.member.member_id
            if new:
                data = {"memberId": survivor_id, "mergedId": merged_id}
                await tables.outbox.append(tx, Draft(program_id, "member.merged", survivor_id, at, data))
            return opened.seal_answer(pb.MergeProfilesResponse(member=wire.message(opened.member)))

        sealed = await self._idempotency.once(request, SealedAnswer, work)
        return await self._answers.settled(sealed, pb.MergeProfilesResponse, merged_id)

    async def UnmergeProfiles(self, request: pb.UnmergeProfilesRequest, context: Any) -> pb.UnmergeProfilesResponse:
        """Undoes a merge."""
        program_id, actor, merged_id = call.current().program_id, Actor.caller(), request.merged_id
        await self._answers.tell(merged_id)

        async def work(tx: Tx) -> SealedAnswer:
            at = (await programs.get(tx, program_id)).at(self._clock())
            opened, survivor_id = await self._merges.undo(tx, program_id, merged_id, actor, at)
            data = {"memberId": survivor_id, "mergedId": merged_id}
            await tables.outbox.append(tx, Draft(program_id, "member.unmerged", survivor_id, at, data))
            return opened.seal_answer(pb.UnmergeProfilesResponse(member=wire.message(opened.member)))

        sealed = await self._idempotency.once(request, SealedAnswer, work)
        return await self._answers.settled(sealed, pb.UnmergeProfilesResponse)
