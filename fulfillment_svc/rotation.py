"""`python -m fulfillment_svc rewrap`: puts everything sealed under an older master key under the current one.

It runs beside the service, in small transactions: whatever is read meanwhile opens with the key that it names, as
long as the service knows both. When it says that nothing is left, and every process that seals has the new key first
in its file, the old key may go.
"""

from fulfillment_svc.codes import Vault
from fulfillment_svc.redemptions import secrets_store
from fulfillment_svc.webhooks import sealed_store
from fulfillment_svc.webhooks.sealer import Sealer
from svckit.db import Database, Tx

BATCH = 100


async def rewrap(db: Database, vault: Vault, sealer: Sealer) -> int:
    """How many sealed values were brought under the current master key; none is under a known older one then."""
    return await _rewrap_codes(db, vault) + await _reseal_endpoints(db, sealer)


async def left(db: Database, vault: Vault, sealer: Sealer) -> int:
    """How many sealed values are under other master keys than the current one, known or not."""
    async with db.read() as tx:
        codes = await secrets_store.count_under_others(tx, vault.key_id)
        return codes + await sealed_store.count_under_others(tx, sealer.key_id)


async def _rewrap_codes(db: Database, vault: Vault) -> int:
    async def work(tx: Tx) -> int:
        found = await secrets_store.rewrapping(tx, vault.old_key_ids, BATCH)
        await secrets_store.update_keys(tx, {place: vault.rewrap(one, place) for place, one in found.items()})
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
