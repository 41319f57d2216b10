"""Handing the outbox over without standing in the way of postings."""

import time
from typing import TYPE_CHECKING, Final

from ledger_svc.journal.engine import Journal
from ledger_svc.tables import outbox
from svckit.db import Database

if TYPE_CHECKING:
    from rewards.fulfillment.v1.webhooks_pb2_grpc import EventsServiceAsyncStub

LAG_MAX_S: Final = 2.0


class Relay:
    """Hands events over. While postings are under way they go first, until events have waited `lag_max_s` for it; then
    all there are go, however busy it is, so that a burst is posted sooner and a stream of events is never held up."""

    def __init__(
        self, db: Database, journal: Journal, events: "EventsServiceAsyncStub", *, lag_max_s: float = LAG_MAX_S
    ) -> None:
        self._db = db
        self._journal = journal
        self._events = events
        self._lag_max_s = lag_max_s
        self._waiting_since_s: float | None = None

    async def step(self) -> int:
        """A worker's step: how many events it handed over; none while it stands back."""
        if self._waiting_since_s is None:
            self._waiting_since_s = time.monotonic()
        if self._journal.busy and time.monotonic() - self._waiting_since_s < self._lag_max_s:
            return 0
        handed = await outbox.relay(self._db, self._events)
        if not handed:
            self._waiting_since_s = None
        return handed
