"""Tells the ledger which members there are, whether they may earn and redeem, and who stands for whom (design
decision 15)."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from rewards.ledger.v1.directory_pb2 import StoreMemberRequest

from identity_svc.members import store
from identity_svc.members.store import Record
from svckit.clients import invoke
from svckit.db import Database

if TYPE_CHECKING:
    from rewards.ledger.v1.directory_pb2_grpc import MemberDirectoryServiceAsyncStub


class Directory:
    """The ledger's list of members. Telling it twice is harmless: a version never overwrites a later one."""

    def __init__(self, db: Database, ledger: "MemberDirectoryServiceAsyncStub") -> None:
        self._db = db
        self._ledger = ledger

    async def sync(self, record: Record) -> None:
        """Returns when the ledger knows the member as it is. Raises UNAVAILABLE if it cannot be told."""
        if record.synced_version == record.standing_version:
            return
        standing = StoreMemberRequest(
            program_id=record.program_id,
            member_id=record.member_id,
            active=record.status.active,
            version=record.standing_version,
            alias_of=record.alias_of or "",
        )
        await invoke(self._ledger.StoreMember, standing)
        await self._db.transact(lambda tx: store.mark_synced(tx, record))

    async def sync_all(self, program_id: str, member_ids: Collection[str]) -> None:
        """As `sync`, of members that may have been erased."""
        async with self._db.read() as tx:
            records = await store.itself_or_erased(tx, program_id, member_ids)
        for record in records:
            await self.sync(record)

    async def sync_leftovers(self) -> int:
        """A worker's step: tells the ledger what a crash or an outage kept from it; how many members."""
        async with self._db.read() as tx:
            records = await store.not_synced(tx)
        for record in records:
            await self.sync(record)
        return len(records)
