"""The RPCs of synchronisations, and the worker that runs what they ask for."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from rewards.catalog.v1 import sync_pb2 as pb
from rewards.catalog.v1.sync_pb2_grpc import SyncServiceServicer

from catalog_svc import store as catalog_store
from catalog_svc.kept import Standings
from catalog_svc.sync import rules, store, wire
from catalog_svc.sync.feeds import FeedBrokenError, Source
from catalog_svc.sync.rules import Before, Feed
from catalog_svc.sync.store import Sync
from svckit import call, paging
from svckit.clock import Clock, new_id
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused
from svckit.programs import Programs

# Longer than the slowest feed and its application.
LEASE_S: Final = 300.0

log = logging.getLogger(__name__)


class SyncServicer(SyncServiceServicer):
    """Begins synchronisations and tells how they went. `sources` are the providers' adapters by name."""

    def __init__(
        self, db: Database, programs: Programs, standings: Standings, sources: Mapping[str, Source], clock: Clock
    ) -> None:
        self._db = db
        self._programs = programs
        self._standings = standings
        self._sources = sources
        self._clock = clock

    async def StartSync(self, request: pb.StartSyncRequest, context: Any) -> pb.StartSyncResponse:
        """Stores what is to be done; the worker does it."""
        if request.provider not in self._sources:
            raise Refused(Reason.NOT_FOUND, "There is no feed of this provider.")
        asked = Sync(
            request.program_id, new_id(), request.provider, request.dry_run, request.force, started_at=self._clock()
        )

        async def work(tx: Tx) -> None:
            await self._programs.get(tx, request.program_id)
            if not await store.begin(tx, asked, call.current().principal.name):
                raise Refused(Reason.CONFLICT, "A synchronisation with this provider runs already.")

        await self._db.transact(work)
        return pb.StartSyncResponse(sync=wire.message(asked))

    async def GetSync(self, request: pb.GetSyncRequest, context: Any) -> pb.GetSyncResponse:
        """How it stands."""
        async with self._db.read() as tx:
            found = await store.find(tx, request.program_id, UUID(request.sync_id))
        if found is None:
            raise Refused(Reason.NOT_FOUND, "There is no such synchronisation.")
        return pb.GetSyncResponse(sync=wire.message(found))

    async def ListSyncChanges(self, request: pb.ListSyncChangesRequest, context: Any) -> pb.ListSyncChangesResponse:
        """A page of what it did."""
        size = paging.size(request.page_size)
        (after,) = paging.place(request, 1) or ("",)
        async with self._db.read() as tx:
            found = await store.changes(tx, request.program_id, UUID(request.sync_id), after, size + 1)
        more = paging.token(request, found[size - 1].reward_id) if len(found) > size else ""
        return pb.ListSyncChangesResponse(changes=map(wire.change, found[:size]), next_page_token=more)

    async def run(self) -> int:
        """A worker's step: runs one synchronisation from its feed to its end; how many there were."""
        sync = await self._db.transact(lambda tx: store.claim(tx, LEASE_S))
        if sync is None:
            return 0
        try:
            feed = await self._sources[sync.provider].read()
        except FeedBrokenError as broken:
            reason = str(broken)
            await self._db.transact(lambda tx: store.end(tx, sync, "REFUSED", reason=reason))
            return 1
        try:
            await self._standings.change(sync.program_id, lambda tx: self._apply(tx, sync, feed))
        except store.LeaseLost:
            log.warning("lease lost", extra={"fields": {"sync": str(sync.sync_id)}})
        return 1

    async def _apply(self, tx: Tx, sync: Sync, feed: Feed) -> None:
        """Decides by what there is, and stores all of it: rewards, stock, the report and the end."""
        program_id = sync.program_id
        units = await store.lock_units(tx, program_id, feed.offers.keys())
        await catalog_store.lock(tx, program_id)
        before = Before(
            await catalog_store.of_provider(tx, program_id, sync.provider),
            await store.taken(tx, program_id, sync.provider, feed.offers.keys()),
            units,
        )
        standing = await catalog_store.standing(tx, program_id)
        rate = standing.rate(await self._programs.get(tx, program_id))
        # Tens of thousands of rewards take a while, in which others want to be served.
        plan = await asyncio.to_thread(rules.plan, before, feed, rate)
        doubt = None if sync.force else rules.doubt(before, feed)
        if doubt is None and not sync.dry_run:
            await catalog_store.write(tx, program_id, before.rewards, plan.rewards, sync.provider)
            await store.set_units(tx, program_id, plan.units)
            if plan.units:
                await catalog_store.count_change(tx, program_id)
        await store.end(tx, sync, "REFUSED" if doubt else "DONE", reason=doubt or "", plan=plan)
