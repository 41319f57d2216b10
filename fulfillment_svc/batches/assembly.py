"""How the room of batches is put together, beside that of orders, which takes their items in."""

from typing import NamedTuple

from fulfillment_svc.batches.servicer import OrderBatchesServicer
from fulfillment_svc.codes import Vault
from fulfillment_svc.orders import assembly as orders
from svckit.clock import Clock
from svckit.db import Database
from svckit.idempotency import Idempotency


class Room(NamedTuple):
    """The room of batches."""

    servicer: OrderBatchesServicer


def assemble(db: Database, idempotent: Idempotency, vault: Vault, ordered: orders.Room, clock: Clock) -> Room:
    """Builds the room on `db`; the items become orders in `ordered`."""
    return Room(OrderBatchesServicer(db, idempotent, vault, ordered.parts.invitations, clock))
