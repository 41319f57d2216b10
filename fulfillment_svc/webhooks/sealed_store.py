"""Every SQL statement that looks at endpoints' secrets by the master key that they lie under."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, update

from fulfillment_svc.webhooks.sealer import KEY_ID_BYTES
from fulfillment_svc.webhooks.tables import webhook_endpoints
from svckit.db import Tx

_W: Final = webhook_endpoints.c
# What a sealed secret begins with.
_sealed_by: Final[ColumnElement[bytes]] = func.substring(_W.secret, 1, KEY_ID_BYTES)


async def resealing(tx: Tx, old_key_ids: Sequence[bytes], size: int) -> list[tuple[str, UUID, bytes]]:
    """At most `size` endpoints of one program with their secrets under old keys, which nobody else is resealing."""
    old = _sealed_by.in_(old_key_ids)
    program_id = await tx.scalar(select(_W.program_id).where(old).limit(1))
    batch = select(_W.program_id, _W.endpoint_id, _W.secret).where(_W.program_id == program_id, old).limit(size)
    return [(*row,) for row in await tx.execute(batch.with_for_update(skip_locked=True))]


async def update_secret(tx: Tx, program_id: str, endpoint_id: UUID, sealed: bytes) -> None:
    """Stores a secret that was sealed anew."""
    named = _W.program_id == program_id, _W.endpoint_id == endpoint_id
    await tx.execute(update(webhook_endpoints).where(*named).values(secret=sealed))


async def count_under_others(tx: Tx, key_id: bytes) -> int:
    """How many secrets are under other keys than this."""
    return int(await tx.scalar(select(func.count()).where(_sealed_by != key_id)) or 0)
