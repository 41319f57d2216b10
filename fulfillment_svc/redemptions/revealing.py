"""Codes in full, for who may see them: seldom, and never without a trace (G53)."""

from math import ceil
from typing import Final
from uuid import UUID

from fulfillment_svc.codes import RECIPIENT, Vault
from fulfillment_svc.redemptions import secrets_store, store
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused

REVEALS_MAX: Final = 10


class Revealing:
    """Opens codes of `db` with `vault`."""

    def __init__(self, db: Database, vault: Vault) -> None:
        self._db = db
        self._vault = vault

    async def reveal(self, program_id: str, redemption_id: UUID, actor: str) -> dict[int, str] | None:
        """The codes of a redemption by the items' numbers; None if there is no such redemption.

        That `actor` sees them is on disk before they are opened. The row's lock keeps two at once from both being the
        last that is allowed. Raises RATE_LIMITED after REVEALS_MAX times in an hour.
        """

        async def work(tx: Tx) -> secrets_store.Secrets | None:
            redemption = await store.lock(tx, program_id, redemption_id)
            if redemption is None:
                return None
            count, left_s = await secrets_store.reveals_of_the_hour(tx, redemption)
            if count >= REVEALS_MAX:
                text = f"The codes were shown {REVEALS_MAX} times within an hour."
                raise Refused(Reason.RATE_LIMITED, text, retry_after_s=ceil(left_s))
            await secrets_store.insert_reveal(tx, redemption, actor)
            return await secrets_store.secrets(tx, redemption)

        sealed = await self._db.transact(work)
        if sealed is None:
            return None
        codes = {place: one for place, one in sealed.items() if place.number != RECIPIENT}
        return {place.number: self._vault.open(one, place).decode() for place, one in codes.items()}
