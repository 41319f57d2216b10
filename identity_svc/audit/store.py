"""The one statement about the audit trail."""

from sqlalchemy import func, insert

from identity_svc import tables
from identity_svc.audit.actor import Actor
from svckit.clock import new_id
from svckit.db import Tx


async def append(tx: Tx, actor: Actor, action: str, program_id: str, target: str) -> None:
    """Adds an entry, for example "credential.created"; `program_id` is empty for what is the platform's."""
    entry = {
        "program_id": program_id,
        "audit_id": new_id(),
        "at": func.now(),
        "actor": actor.name,
        "action": action,
        "target": target,
        "request_id": actor.request_id,
    }
    await tx.execute(insert(tables.audit).values(entry))
