"""`python -m fulfillment_svc rewrap`: puts everything sealed under an older master key under the current one.

It runs beside the service, in small transactions: whatever is read meanwhile opens with the key that it names, as
long as the service knows both. When it says that nothing is left, and every process that seals has the new key first
in its file, the old key may go.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from fulfillment_svc.batches import store as batches_store
from fulfillment_svc.codes import Place, Sealed, Vault
from fulfillment_svc.orders import store as orders_store
from fulfillment_svc.redemptions import secrets_store
from fulfillment_svc.webhooks import sealed_store
from fulfillment_svc.webhooks.sealer import Sealer
from svckit.db import Database, Tx

BATCH = 100


class Rewrapped(Protocol):
    """A store of what the vault has sealed."""

    async def rewrapping(self, tx: Tx, old_key_ids: Sequence[str], size: int) -> dict[Place, Sealed]:
        """At most `size` sealed values of one program under old master keys, which nobody else is rewrapping."""

    async def update_keys(self, tx: Tx, rewrapped: Mapping[Place, Sealed]) -> None:
        """Stores data keys that were wrapped anew."""

    async def count_under_others(self, tx: Tx, key_id: str) -> int:
        """How many sealed values are under other master keys than this."""


STORES: Final[Sequence[Rewrapped]] = (secrets_store, orders_store, batches_store)


async def rewrap(db: Database, vault: Vault, sealer: Sealer) -> int:
    """How many sealed values were brought under the current master key; none is under a known older one then."""
    rewrapped = [await _rewrap(db, vault, store) for store in STORES]
    return sum(rewrapped) + await _reseal_endpoints(db, sealer)


async def left(db: Database, vault: Vault, sealer: Sealer) -> int:
    """How many sealed values are under other master keys than the current one, known or not."""
    async with db.read() as tx:
        counts = [await store.count_under_others(tx, vault.key_id) for store in STORES]
        return sum(counts) + await sealed_store.count_under_others(tx, sealer.key_id)


async def _rewrap(db: Database, vault: Vault, store: Rewrapped) -> int:
    async def work(tx: Tx) -> int:
        found = await store.rewrapping(tx, vault.old_key_ids, BATCH)
        await store.update_keys(tx, {place: vault.rewrap(one, place) for place, one in found.items()})
        return len(found)

    total = 0
    while batch := await db.transact(work):
        total += batch
    return total


async def _reseal_endpoints(db: Database, sealer: Sealer) -> int:
    async def work(tx: Tx) -> int:
        found = await sealed_store.resealing(tx, sealer.old_key_ids, BATCH)
        for program_id, endpoint_id, sealed in found:
            secret = sealer.open(program_id, endpoint_id, sealed)
            await sealed_store.update_secret(tx, program_id, endpoint_id, sealer.seal(program_id, endpoint_id, secret))
        return len(found)

    total = 0
    while batch := await db.transact(work):
        total += batch
    return total
