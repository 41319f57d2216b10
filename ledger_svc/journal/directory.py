"""The ledger's own list of members, kept by identity_svc (design decision 15), and what merges move."""

from functools import partial
from typing import Any

from rewards.ledger.v1 import directory_pb2 as pb
from rewards.ledger.v1.directory_pb2_grpc import MemberDirectoryServiceServicer

from ledger_svc.journal import store
from ledger_svc.journal.merges import HandBack, HandOver
from ledger_svc.journal.values import Key, Owner
from ledger_svc.parts import Rpcs
from ledger_svc.tables import programs
from svckit.db import Tx


class MemberDirectoryServicer(Rpcs, MemberDirectoryServiceServicer):
    """Takes what members may do, and who stands for whom, from identity_svc."""

    async def StoreMember(self, request: pb.StoreMemberRequest, context: Any) -> pb.StoreMemberResponse:
        """Stores what a member may do, and moves its points if it is merged or was; idempotent."""
        await self.db.transact(partial(self._store, request))
        return pb.StoreMemberResponse()

    async def _store(self, request: pb.StoreMemberRequest, tx: Tx) -> None:
        program_id, member_id = request.program_id, request.member_id
        before, after = await store.alias_of(tx, program_id, member_id), request.alias_of or None
        # Whatever comes late or again has an older version, and moves nothing.
        newer = await store.store_member(
            tx, program_id, member_id, active=request.active, version=request.version, alias_of=after
        )
        if newer and before != after:
            if before is not None:
                await self._hand_back(tx, program_id, member_id, before)
            if after is not None:
                await self._hand_over(tx, program_id, member_id)

    async def _hand_over(self, tx: Tx, program_id: str, member_id: str) -> None:
        """In every asset that the program has, also where the member has no account: it is made and locked, so that
        no posting that has not seen the merge can make it afterwards."""
        program = await programs.get(tx, program_id)
        known = {program.asset, *program.policy.more_assets, *await store.assets_of(tx, program_id, member_id)}
        keys = tuple(Key(program_id, Owner.MEMBER, member_id, asset) for asset in sorted(known))
        await self.journal.post_in(tx, program_id, HandOver(keys, program.now(self.clock)))

    async def _hand_back(self, tx: Tx, program_id: str, member_id: str, survivor: str) -> None:
        now = (await programs.get(tx, program_id)).now(self.clock)
        for asset, lots in (await store.handed_over(tx, program_id, member_id, survivor)).items():
            source, target = (Key(program_id, Owner.MEMBER, owner, asset) for owner in (survivor, member_id))
            await self.journal.post_in(tx, program_id, HandBack(source, target, now, lots))
