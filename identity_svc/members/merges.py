"""Merging members and taking them apart again, inside the transaction (G44). The points follow in the ledger, which
is told of the alias as of any other change of a member."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Final

from identity_svc.audit import store as audit
from identity_svc.audit.actor import Actor
from identity_svc.members import attribute_store, merge_store, privacy_store, rules, store
from identity_svc.members.registry import Opened, Registry, sealed_attributes
from identity_svc.members.rules import Attributes, Relation
from identity_svc.members.store import Record
from svckit.db import Tx
from svckit.errors import Reason, Refused, invalid

_MERGE: Final = "merge"


class Merges:
    """Changes two members at once. Both are locked in the order of their ids."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def merge(
        self, tx: Tx, program_id: str, survivor_id: str, merged_id: str, actor: Actor, at: datetime
    ) -> tuple[Opened, bool]:
        """Merges; gives the survivor, and False if it was so before. Raises MEMBER_NOT_FOUND, CONFLICT, UNAVAILABLE."""
        if survivor_id == merged_id:
            raise invalid(mergedId="is the survivor")
        schema = await attribute_store.schema(tx, program_id)
        survivor_id = (await store.get(tx, program_id, survivor_id)).member_id
        if survivor_id == merged_id:
            raise _conflict("The survivor was merged into that member.")
        survivor, merged = await _lock(tx, program_id, survivor_id, merged_id)
        if merged.alias_of is not None:
            counting = await store.get(tx, program_id, merged_id)
            if counting.member_id != survivor_id:
                raise _conflict("That member was merged into another one.")
            return await self._registry.opened(tx, counting), False
        await _check_settled(tx, survivor, merged)
        into, from_ = await self._registry.opened(tx, survivor), await self._registry.opened(tx, merged)
        gained = rules.gained(into.member.attributes, from_.member.attributes)
        await attribute_store.forget(tx, program_id, merged_id, gained.keys())
        for relation in from_.member.relations:
            sealed = self._registry.sealed(into.box, relation)
            await merge_store.move_relation(tx, program_id, merged_id, survivor_id, sealed)
        after = replace(into.member, attributes={**into.member.attributes, **gained}, version=survivor.version + 1)
        await self._registry.index(tx, after, gained, schema)
        await store.replace(tx, replace(survivor, version=after.version, attributes=sealed_attributes(into.box, after)))
        await _set_alias(tx, merged, survivor_id)
        moved = {"attributes": gained, "relations": [[one.type, one.value] for one in from_.member.relations]}
        await merge_store.add(
            tx, program_id, survivor_id, merged_id, from_.box.seal(_MERGE, json.dumps(moved).encode()), at
        )
        await audit.append(tx, actor, "member.merged", program_id, f"{merged_id} into {survivor_id}")
        return await self._registry.opened(tx, await store.get_itself(tx, program_id, survivor_id)), True

    async def undo(self, tx: Tx, program_id: str, merged_id: str, actor: Actor, at: datetime) -> tuple[Opened, str]:
        """Undoes a merge; gives who was merged, and the survivor's id. Raises as `merge`, and ATTRIBUTE_TAKEN."""
        schema = await attribute_store.schema(tx, program_id)
        survivor_id = (await store.get_itself(tx, program_id, merged_id)).alias_of
        if survivor_id is None:
            raise _conflict("That member is not merged.")
        survivor, merged = await _lock(tx, program_id, survivor_id, merged_id)
        if merged.alias_of != survivor_id:
            raise _conflict("That member is not merged.")
        await _check_settled(tx, survivor, merged)
        into, from_ = await self._registry.opened(tx, survivor), await self._registry.opened(tx, merged)
        moved = json.loads(from_.box.open(_MERGE, await merge_store.moved(tx, program_id, merged_id)))
        for type_, value in moved["relations"]:
            sealed = self._registry.sealed(from_.box, Relation(type_, value))
            await merge_store.move_relation(tx, program_id, survivor_id, merged_id, sealed)
        kept = _without(into.member.attributes, moved["attributes"])
        gone = into.member.attributes.keys() - kept.keys()
        await attribute_store.forget(tx, program_id, survivor_id, gone)
        await self._registry.index(tx, from_.member, moved["attributes"], schema)
        after = replace(into.member, attributes=kept, version=survivor.version + 1)
        await store.replace(tx, replace(survivor, version=after.version, attributes=sealed_attributes(into.box, after)))
        await _set_alias(tx, merged, None)
        await merge_store.undo(tx, program_id, merged_id, at)
        await audit.append(tx, actor, "member.unmerged", program_id, f"{merged_id} from {survivor_id}")
        return await self._registry.opened(tx, await store.get_itself(tx, program_id, merged_id)), survivor_id


async def _lock(tx: Tx, program_id: str, survivor_id: str, merged_id: str) -> tuple[Record, Record]:
    locked = {one: await store.lock_itself(tx, program_id, one) for one in sorted((survivor_id, merged_id))}
    if locked[survivor_id].alias_of is not None:
        raise _conflict("The survivor was merged into another member since.")
    return locked[survivor_id], locked[merged_id]


async def _check_settled(tx: Tx, survivor: Record, merged: Record) -> None:
    # What the ledger has not heard of one member yet could come after what it hears of the other, and be about an
    # older merge of the two; and what is below the merged one must have come to it before it moves on.
    below = await privacy_store.aliases(tx, merged.program_id, merged.member_id)
    records = (survivor, merged, *await store.itself_or_erased(tx, merged.program_id, below))
    if any(record.synced_version < record.standing_version for record in records):
        raise Refused(Reason.UNAVAILABLE, "The ledger is being told of these members.", retry_after_s=1)


async def _set_alias(tx: Tx, merged: Record, alias_of: str | None) -> None:
    version = merged.version + 1
    await store.replace(tx, replace(merged, version=version, standing_version=version, alias_of=alias_of))


def _without(attributes: Attributes, came: Attributes) -> Attributes:
    """The survivor's attributes less those that came by the merge and are as they came."""
    return {name: value for name, value in attributes.items() if name not in came or came[name] != value}


def _conflict(text: str) -> Refused:
    return Refused(Reason.CONFLICT, text)
