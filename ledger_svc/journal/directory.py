"""The ledger's own list of members, kept by identity_svc (design decision 15)."""

from typing import Any

from rewards.ledger.v1 import directory_pb2 as pb
from rewards.ledger.v1.directory_pb2_grpc import MemberDirectoryServiceServicer

from ledger_svc.journal import store
from svckit.db import Database, Tx


class MemberDirectoryServicer(MemberDirectoryServiceServicer):
    """Takes what members may do from identity_svc."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def StoreMember(self, request: pb.StoreMemberRequest, context: Any) -> pb.StoreMemberResponse:
        """Stores what a member may do; idempotent."""

        async def work(tx: Tx) -> None:
            await store.store_member(
                tx, request.program_id, request.member_id, active=request.active, version=request.version
            )

        await self._db.transact(work)
        return pb.StoreMemberResponse()
