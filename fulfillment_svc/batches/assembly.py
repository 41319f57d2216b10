"""How the room of batches is put together, beside that of orders, which takes their items in."""

import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

from fulfillment_svc.batches.placing import Placing
from fulfillment_svc.batches.preflight import Preflight
from fulfillment_svc.batches.servicer import Desks, OrderBatchesServicer
from fulfillment_svc.codes import Vault
from fulfillment_svc.orders import assembly as orders
from svckit.clock import Clock
from svckit.db import Database
from svckit.idempotency import Idempotency
from svckit.server import Worker

if TYPE_CHECKING:
    from rewards.ledger.v1.journal_pb2_grpc import JournalServiceAsyncStub

# Each has one batch at a time, so that a large one does not keep a small one waiting.
WORKERS: Final = 2


class Room(NamedTuple):
    """The room of batches. `placing` is what its workers do."""

    servicer: OrderBatchesServicer
    placing: Placing
    workers: list[Worker]


def assemble(
    db: Database,
    idempotent: Idempotency,
    vault: Vault,
    ordered: orders.Room,
    journal: "JournalServiceAsyncStub",
    clock: Clock,
) -> Room:
    """Builds the room on `db`; the items become orders in `ordered`."""
    placing = Placing(db, idempotent, vault, ordered, clock)
    workers = [Worker(f"batches-{number}", placing.work) for number in range(1, WORKERS + 1)]
    turns = itertools.cycle(workers)

    def wake() -> None:
        next(turns).wake()

    desks = Desks(vault, ordered.parts.invitations, Preflight(db, vault, ordered, journal))
    return Room(OrderBatchesServicer(db, idempotent, desks, wake, clock), placing, workers)
