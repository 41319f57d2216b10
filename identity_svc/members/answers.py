"""Answers about members: given when the ledger knows what they say."""

from typing import TypeVar

from google.protobuf.message import Message
from rewards.identity.v1.sealed_pb2 import SealedAnswer

from identity_svc.members import store
from identity_svc.members.directory import Directory
from identity_svc.members.registry import Registry
from svckit import call
from svckit.db import Database

Answer = TypeVar("Answer", bound=Message)


class Answers:
    """Opens what is kept sealed under idempotency keys, for the first call and every replay alike."""

    def __init__(self, db: Database, registry: Registry, directory: Directory) -> None:
        self._db = db
        self._registry = registry
        self._directory = directory

    async def tell(self, *member_ids: str) -> None:
        """Returns when the ledger knows the members as they are, and those that count for them. Raises UNAVAILABLE,
        MEMBER_NOT_FOUND."""
        program_id = call.current().program_id
        async with self._db.read() as tx:
            records = [await store.get_itself(tx, program_id, member_id) for member_id in member_ids]
            records += [await store.get(tx, program_id, one.alias_of) for one in records if one.alias_of is not None]
        for record in records:
            await self._directory.sync(record)

    async def settled(self, sealed: SealedAnswer, answer: type[Answer], *touched: str) -> Answer:
        """The answer in the clear, as soon as the ledger knows its member and those that were `touched` as well.

        Raises UNAVAILABLE if it cannot be told, MEMBER_NOT_FOUND if the member was erased since.
        """
        await self.tell(*touched)
        async with self._db.read() as tx:
            record = await store.get_itself(tx, call.current().program_id, sealed.member_id)
        await self._directory.sync(record)
        return self._registry.open_answer(record, sealed, answer)
