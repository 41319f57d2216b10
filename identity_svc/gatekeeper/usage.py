"""When credentials were last used: noted in memory on every call, written now and then, off every call's way."""

from datetime import datetime

from identity_svc.credentials import store
from svckit.call import Principal
from svckit.db import Database

INTERVAL_S = 10.0


class Usage:
    """Gathers uses. A crash loses the last INTERVAL_S of them, which changes no decision."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._used: dict[tuple[str, str], datetime] = {}

    def note(self, principal: Principal, at: datetime) -> None:
        """Notes that a credential was used."""
        self._used[principal.program_id, principal.name] = at

    async def write(self) -> int:
        """A worker's step. Always 0: there is no more to do before the next interval."""
        used, self._used = self._used, {}
        if used:
            await self._db.transact(lambda tx: store.touch(tx, used))
        return 0
