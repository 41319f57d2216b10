"""Erasure and export of members, inside the transaction (G52)."""

from datetime import datetime
from typing import Final

from rewards.identity.v1 import privacy_pb2 as pb

from identity_svc.audit import store as audit
from identity_svc.audit.actor import Actor
from identity_svc.members import attribute_store, privacy_store, store, wire
from identity_svc.members.registry import Opened, Registry
from svckit.clock import new_id
from svckit.db import Tx
from svckit.errors import Reason, Refused

_KEPT: Final = (
    ("the member id, marked as erased", "It stays taken, so that nobody else is ever credited under it."),
    (
        "ledger entries, lots and holds under the member id",
        "Accounts must be kept and stay verifiable (GDPR Art. 17(3)(b)); they hold no personal data.",
    ),
    (
        "recipients of orders and redemptions",
        "They are records of deliveries that were paid for (GDPR Art. 17(3)(b)), kept by the fulfillment service.",
    ),
    ("the audit trail and events that were sent", "They name ids only."),
    ("backups", "What lies in them is under the destroyed key as of their own age, and goes as they expire."),
)


class Privacy:
    """Erases and exports members with all that were merged into them: they are one person."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def export(self, tx: Tx, program_id: str, member_id: str) -> pb.ExportMemberResponse:
        """All that is known of a member. Raises MEMBER_NOT_FOUND."""
        everyone = await self._everyone(tx, program_id, (await store.get(tx, program_id, member_id)).member_id)
        past = [
            wire.past_relation(one, self._registry.value(opened.box, one.sealed_value))
            for opened in everyone
            for one in await privacy_store.past_relations(tx, program_id, opened.member.member_id)
        ]
        past.sort(key=lambda one: one.unlinked_at.ToNanoseconds())
        return pb.ExportMemberResponse(
            member=wire.message(everyone[0].member),
            aliases=[wire.alias(opened.member) for opened in everyone[1:]],
            past_relations=past,
        )

    async def erase(
        self, tx: Tx, program_id: str, member_id: str, actor: Actor, at: datetime
    ) -> tuple[pb.ErasureCertificate, bool]:
        """Erases a member; gives the certificate, and False if that was done before. Raises MEMBER_NOT_FOUND."""
        schema = await attribute_store.schema(tx, program_id)
        try:
            root_id = (await store.lock(tx, program_id, member_id)).member_id
        except Refused as refused:
            kept = await privacy_store.certificate(tx, program_id, member_id)
            if refused.reason != Reason.MEMBER_NOT_FOUND or kept is None:
                raise
            return pb.ErasureCertificate.FromString(kept), False
        everyone = await self._everyone(tx, program_id, root_id, lock=True)
        ids = [opened.member.member_id for opened in everyone]
        past = [await privacy_store.past_relations(tx, program_id, one) for one in ids]
        names = {name for opened in everyone for name in opened.member.attributes}
        personal = {name for name in names if name in schema.definitions and schema.definitions[name].personal_data}
        certificate = pb.ErasureCertificate(
            certificate_id=str(new_id()),
            member_id=root_id,
            alias_ids=ids[1:],
            erased_at=wire.timestamp(at),
            keys_destroyed=len(ids),
            personal_attributes=sorted(personal),
            other_attributes=len(names - personal),
            relations=sum(len(opened.member.relations) for opened in everyone) + sum(map(len, past)),
            kept=[pb.ErasureCertificate.Kept(what=what, why=why) for what, why in _KEPT],
        )
        await privacy_store.erase(tx, program_id, ids)
        await privacy_store.certify(tx, program_id, ids, certificate.SerializeToString(deterministic=True), at)
        await audit.append(tx, actor, "member.erased", program_id, root_id)
        return certificate, True

    async def _everyone(self, tx: Tx, program_id: str, root_id: str, *, lock: bool = False) -> list[Opened]:
        """The member and all that were merged into it. With the root locked nobody joins or leaves them."""
        read = store.lock_itself if lock else store.get_itself
        ids = [root_id, *await privacy_store.aliases(tx, program_id, root_id)]
        return [await self._registry.opened(tx, await read(tx, program_id, one)) for one in ids]
