"""PrivacyService: what a person may ask for about their data."""

from typing import Any

from rewards.identity.v1 import privacy_pb2 as pb
from rewards.identity.v1.privacy_pb2_grpc import PrivacyServiceServicer

from identity_svc import tables
from identity_svc.audit.actor import Actor
from identity_svc.members.directory import Directory
from identity_svc.members.privacy import Privacy
from identity_svc.programs import store as programs
from svckit import call
from svckit.clock import Clock, system_clock
from svckit.db import Database, Tx
from svckit.idempotency import Idempotency
from svckit.outbox import Draft


class PrivacyServicer(PrivacyServiceServicer):
    """An export is never kept; a certificate holds no personal data and is kept as it is."""

    def __init__(
        self,
        db: Database,
        idempotency: Idempotency,
        privacy: Privacy,
        directory: Directory,
        clock: Clock = system_clock,
    ) -> None:
        self._db = db
        self._idempotency = idempotency
        self._privacy = privacy
        self._directory = directory
        self._clock = clock

    async def ExportMember(self, request: pb.ExportMemberRequest, context: Any) -> pb.ExportMemberResponse:
        """Gives all that is known of a member."""
        async with self._db.read() as tx:
            return await self._privacy.export(tx, call.current().program_id, request.member_id)

    async def EraseMember(self, request: pb.EraseMemberRequest, context: Any) -> pb.EraseMemberResponse:
        """Erases a member."""
        program_id, actor = call.current().program_id, Actor.caller()

        async def work(tx: Tx) -> pb.EraseMemberResponse:
            at = (await programs.get(tx, program_id)).at(self._clock())
            certificate, new = await self._privacy.erase(tx, program_id, request.member_id, actor, at)
            if new:
                data = {"memberId": certificate.member_id, "certificateId": certificate.certificate_id}
                await tables.outbox.append(tx, Draft(program_id, "member.erased", certificate.member_id, at, data))
            return pb.EraseMemberResponse(certificate=certificate)

        answer = await self._idempotency.once(request, pb.EraseMemberResponse, work)
        await self._directory.sync_all(program_id, [answer.certificate.member_id, *answer.certificate.alias_ids])
        return answer
