"""How the room is put together: the servicer, and the workers that carry on what it starts."""

import itertools
from collections.abc import Callable
from typing import Final, NamedTuple
from uuid import UUID

from fulfillment_svc.codes import Vault
from fulfillment_svc.providers.callbacks import LookAgain
from fulfillment_svc.redemptions import store
from fulfillment_svc.redemptions.cancelling import Cancelling
from fulfillment_svc.redemptions.intake import Intake
from fulfillment_svc.redemptions.revealing import Revealing
from fulfillment_svc.redemptions.saga import Ingest, Saga
from fulfillment_svc.redemptions.servicer import Desks, RedemptionsServicer
from fulfillment_svc.redemptions.steps import Outside, Steps
from svckit.clock import Clock
from svckit.db import Database
from svckit.idempotency import Idempotency
from svckit.server import Worker

# Each carries one redemption at a time; most of that time it waits for a provider.
WORKERS: Final = 16


class Room(NamedTuple):
    """The room of redemptions. `wake` tells a worker that one waits for it, `look_again` takes what a provider
    has called about, and `revealing` shows codes."""

    servicer: RedemptionsServicer
    saga: Saga
    wake: Callable[[], None]
    look_again: LookAgain
    revealing: Revealing
    workers: list[Worker]


def assemble(
    db: Database, idempotent: Idempotency, vault: Vault, outside: Outside, ingest: Ingest, clock: Clock
) -> Room:
    """Builds the room on `db`; `ingest` takes its events."""
    steps = Steps(db, outside, vault, clock)
    saga = Saga(db, steps, idempotent, vault, ingest, clock)
    workers = [Worker(f"redemptions-{number}", saga.work) for number in range(1, WORKERS + 1)]
    turns = itertools.cycle(workers)

    def wake() -> None:
        next(turns).wake()

    async def look_again(provider: str, redemption_id: UUID) -> None:
        if await db.transact(lambda tx: store.make_due(tx, provider, redemption_id)):
            wake()

    intake = Intake(db, idempotent, outside.catalog, outside.router, vault, clock)
    desks = Desks(intake, Cancelling(db, idempotent, saga), Revealing(db, vault), saga)
    servicer = RedemptionsServicer(db, idempotent, desks, wake)
    return Room(servicer, saga, wake, look_again, desks.revealing, workers)
