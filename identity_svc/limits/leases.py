"""Parts of daily quotas as they are handed out: durable before anybody spends them."""

from identity_svc.limits import rules, store
from identity_svc.limits.rules import Lease
from svckit.db import Database, Tx


async def lease(db: Database, credential_id: str, quota: int, needed: int) -> Lease:
    """Hands out a part of a credential's `quota` of this UTC day, as `rules.lease` says.

    Raises NOT_FOUND if there is no such credential, UNAVAILABLE without the database.
    """

    async def work(tx: Tx) -> Lease:
        after, leased = rules.lease(await store.lock(tx, credential_id), quota, needed)
        await store.keep(tx, after)
        return leased

    return await db.transact(work)
