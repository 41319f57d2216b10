"""Members between the clear and the sealed: every change of a member, inside its transaction."""

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, TypeVar

from google.protobuf.message import Message
from rewards.identity.v1.sealed_pb2 import SealedAnswer

from identity_svc.audit import store as audit
from identity_svc.audit.actor import Actor
from identity_svc.members import attribute_store, rules, schema, store
from identity_svc.members.attribute_store import Indexed
from identity_svc.members.rules import Attributes, Change, Member, Relation, Status
from identity_svc.members.schema import Schema
from identity_svc.members.store import Record, SealedRelation
from identity_svc.members.vault import MemberBox, Vault
from svckit.db import Tx
from svckit.errors import Reason, Refused, invalid

Answer = TypeVar("Answer", bound=Message)

_ATTRIBUTES: Final = "attributes"
_RELATION: Final = "relation"
_ANSWER: Final = "answer"


@dataclass(frozen=True, slots=True)
class Opened:
    """A member in the clear, with the box that its data lies in."""

    member: Member
    box: MemberBox

    def seal_answer(self, answer: Message) -> SealedAnswer:
        """An answer about the member as it is kept under its idempotency key: personal data in it lies under
        the member's key (design decision 7)."""
        plain = answer.SerializeToString(deterministic=True)
        return SealedAnswer(member_id=self.member.member_id, sealed=self.box.seal(_ANSWER, plain))


class Registry:
    """Reads and changes members."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._nobody = _nobody(vault)

    async def create(self, tx: Tx, member: Member) -> Opened:
        """Adds a member. Raises MEMBER_EXISTS, RELATION_TAKEN, ATTRIBUTE_TAKEN, INVALID_REQUEST."""
        allowed = await attribute_store.schema(tx, member.program_id)
        allowed.check(member.attributes)
        box, wrapped_key = self._vault.new_box(member.program_id, member.member_id)
        record = Record(
            program_id=member.program_id,
            member_id=member.member_id,
            status=member.status,
            version=member.version,
            standing_version=member.version,
            synced_version=0,
            attributes=sealed_attributes(box, member),
            created_at=member.created_at,
            wrapped_key=wrapped_key,
        )
        if not await store.add(tx, record):
            raise Refused(Reason.MEMBER_EXISTS, "The member id is taken.")
        sealed = [self.sealed(box, relation) for relation in member.relations]
        if await store.link(tx, record, sealed, member.created_at) < len(sealed):
            raise _taken()
        await self.index(tx, member, member.attributes, allowed)
        return Opened(member, box)

    async def get(self, tx: Tx, program_id: str, member_id: str) -> Opened:
        """The member. Raises MEMBER_NOT_FOUND."""
        return await self.opened(tx, await store.get(tx, program_id, member_id))

    async def look_up(self, tx: Tx, program_id: str, member_id: str) -> Opened | None:
        """As `get`, without the relations, and with None for nobody: both ask the database once, and open a box."""
        try:
            return self._in_box(await store.get(tx, program_id, member_id), [])
        except Refused as refused:
            if refused.reason != Reason.MEMBER_NOT_FOUND:
                raise
            self._in_box(self._nobody, [])
            return None

    async def change(self, tx: Tx, program_id: str, member_id: str, change: Change, actor: Actor) -> Opened:
        """Changes a member's attributes or status. Raises MEMBER_NOT_FOUND, CONFLICT, ATTRIBUTE_TAKEN,
        INVALID_REQUEST."""
        # Before the member, as whoever changes the definitions locks them before any value.
        allowed = await attribute_store.schema(tx, program_id)
        record = await store.lock(tx, program_id, member_id)
        before = await self.opened(tx, record)
        allowed.check(change.attributes, before.member.attributes)
        after = rules.changed(before.member, change)
        if after is before.member:
            return before
        await attribute_store.forget(tx, program_id, record.member_id, change.attributes.keys())
        await self.index(tx, after, change.attributes, allowed)
        if after.status is not record.status:
            await audit.append(tx, actor, f"member.status.{after.status.lower()}", program_id, record.member_id)
        standing = record.standing_version if after.status.active == record.status.active else after.version
        await store.replace(
            tx,
            replace(
                record,
                status=after.status,
                version=after.version,
                standing_version=standing,
                attributes=sealed_attributes(before.box, after),
            ),
        )
        return Opened(after, before.box)

    async def link(self, tx: Tx, program_id: str, member_id: str, relation: Relation, at: datetime) -> Opened:
        """Links a relation to a member; again changes nothing. Raises MEMBER_NOT_FOUND, RELATION_TAKEN."""
        record = await store.lock(tx, program_id, member_id)
        before = await self.opened(tx, record)
        sealed = self.sealed(before.box, relation)
        if await store.owner(tx, program_id, sealed) == record.member_id:
            return before
        after = rules.linked(before.member, relation)
        if await store.link(tx, record, [sealed], at) == 0:
            raise _taken()
        await store.replace(tx, replace(record, version=after.version))
        return Opened(after, before.box)

    async def unlink(self, tx: Tx, program_id: str, member_id: str, relation: Relation, at: datetime) -> Opened:
        """Ends a relation and keeps that it was. Raises MEMBER_NOT_FOUND, RELATION_NOT_FOUND."""
        record = await store.lock(tx, program_id, member_id)
        before = await self.opened(tx, record)
        sealed = self.sealed(before.box, relation)
        if not await store.unlink(tx, record, sealed, at):
            raise Refused(Reason.RELATION_NOT_FOUND, "The member has no such relation.")
        after = rules.unlinked(before.member, relation)
        await store.replace(tx, replace(record, version=after.version))
        return Opened(after, before.box)

    async def owner(self, tx: Tx, program_id: str, relation: Relation) -> str | None:
        """The id of the member that has the relation."""
        value_mac = self._vault.relation_mac(program_id, relation)
        return await store.owner(tx, program_id, SealedRelation(relation.type, value_mac, b""))

    async def find(self, tx: Tx, program_id: str, name: str, value: str) -> Opened:
        """The member with that value of a unique attribute, or with that relation. Raises MEMBER_NOT_FOUND,
        INVALID_REQUEST."""
        definition = (await attribute_store.schema(tx, program_id)).definitions.get(name)
        if definition is None:
            member_id = await self.owner(tx, program_id, Relation(name, value))
        elif definition.unique:
            indexed = self._indexed(program_id, name, unicodedata.normalize("NFC", value))
            member_id = await attribute_store.find(tx, program_id, indexed)
        else:
            raise invalid(name="is an attribute that several members may share")
        return await self.get(tx, program_id, member_id or "")

    async def page(self, tx: Tx, program_id: str, filter_: str, after: str, limit: int) -> list[Opened]:
        """At most so many members that the filter finds, in order of their ids. Raises INVALID_REQUEST."""
        wanted = schema.conditions(filter_, await attribute_store.schema(tx, program_id))
        values = [self._indexed(program_id, name, text) for name, text in wanted]
        records = await store.page(tx, program_id, values, after, limit)
        related = await store.relations_of(tx, program_id, [record.member_id for record in records])
        return [self._in_box(record, related.get(record.member_id, [])) for record in records]

    def value(self, box: MemberBox, sealed_value: bytes) -> str:
        """A relation's value, also of one that has ended."""
        return box.open(_RELATION, sealed_value).decode()

    def open_answer(self, record: Record, sealed: SealedAnswer, answer: type[Answer]) -> Answer:
        """The answer that was sealed for the record's member."""
        return answer.FromString(self._box(record).open(_ANSWER, sealed.sealed))

    async def opened(self, tx: Tx, record: Record) -> Opened:
        """A member as it is stored, in the clear."""
        related = await store.relations_of(tx, record.program_id, [record.member_id])
        return self._in_box(record, related.get(record.member_id, []))

    def _in_box(self, record: Record, found: Iterable[SealedRelation]) -> Opened:
        box = self._box(record)
        member = Member(
            program_id=record.program_id,
            member_id=record.member_id,
            created_at=record.created_at,
            status=record.status,
            attributes=json.loads(box.open(_ATTRIBUTES, record.attributes)),
            relations=_in_the_clear(box, found),
            version=record.version,
        )
        return Opened(member, box)

    def _box(self, record: Record) -> MemberBox:
        return self._vault.box(record.program_id, record.member_id, record.wrapped_key)

    async def index(self, tx: Tx, member: Member, values: Attributes, allowed: Schema) -> None:
        """Makes the member findable by values of attributes. Raises ATTRIBUTE_TAKEN."""
        found = [
            self._indexed(member.program_id, name, text, unique=allowed.unique(name))
            for name, value in values.items()
            if value is not None and (text := schema.text(value)) is not None
        ]
        if not await attribute_store.index(tx, member.program_id, member.member_id, found):
            raise Refused(Reason.ATTRIBUTE_TAKEN, "Another member has this value of an attribute that is unique.")

    def _indexed(self, program_id: str, name: str, text: str, *, unique: bool = False) -> Indexed:
        return Indexed(name, self._vault.attribute_mac(program_id, name, text), unique)

    def sealed(self, box: MemberBox, relation: Relation) -> SealedRelation:
        """A relation as it is stored for the box's member."""
        value_mac = self._vault.relation_mac(box.program_id, relation)
        return SealedRelation(relation.type, value_mac, box.seal(_RELATION, relation.value.encode()))


def _in_the_clear(box: MemberBox, found: Iterable[SealedRelation]) -> tuple[Relation, ...]:
    return tuple(sorted(Relation(one.type, box.open(_RELATION, one.sealed_value).decode()) for one in found))


def _nobody(vault: Vault) -> Record:
    """What is opened where there is no member, so that this takes the same time to find out."""
    at = datetime.fromtimestamp(0, UTC)
    box, wrapped_key = vault.new_box("", "")
    attributes = sealed_attributes(box, Member("", "", at))
    return Record("", "", Status.ACTIVE, 1, 1, 1, attributes, at, wrapped_key)


def sealed_attributes(box: MemberBox, member: Member) -> bytes:
    """The member's attributes as they are stored."""
    return box.seal(_ATTRIBUTES, json.dumps(member.attributes, separators=(",", ":")).encode())


def _taken() -> Refused:
    return Refused(Reason.RELATION_TAKEN, "The relation belongs to another member.")
