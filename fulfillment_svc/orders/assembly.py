"""How the rooms of orders and claims are put together, beside that of redemptions, which carries the claims."""

import itertools
from collections.abc import Callable
from typing import Final, NamedTuple

from fulfillment_svc.claims.servicer import ClaimsServicer
from fulfillment_svc.claims.taking import Taking
from fulfillment_svc.orders.intake import Intake
from fulfillment_svc.orders.invitations import Invitations
from fulfillment_svc.orders.menus import Menus
from fulfillment_svc.orders.parts import Parts
from fulfillment_svc.orders.saga import Saga
from fulfillment_svc.orders.servicer import Desks, OrdersServicer
from fulfillment_svc.orders.starting import Starting
from fulfillment_svc.orders.steps import Steps
from fulfillment_svc.pages.servicer import ClaimPagesServicer
from fulfillment_svc.redemptions import assembly as redemptions
from fulfillment_svc.redemptions.steps import Outside
from svckit.clock import Clock
from svckit.db import Database
from svckit.idempotency import Idempotency
from svckit.server import Worker

# Each carries one order at a time; most of that time it waits for a mail server.
WORKERS: Final = 8


class Room(NamedTuple):
    """The rooms of orders and claims, and the page. `intake` and `saga` take in and decide an order without a call
    around it, and `wake` tells a worker that one waits for it."""

    orders: OrdersServicer
    claims: ClaimsServicer
    pages: ClaimPagesServicer
    parts: Parts
    intake: Intake
    saga: Saga
    wake: Callable[[], None]
    workers: list[Worker]


def assemble(
    db: Database,
    idempotent: Idempotency,
    invitations: Invitations,
    outside: Outside,
    clock: Clock,
    claimed: redemptions.Room,
) -> Room:
    """Builds the rooms on `db`; the claims go on in `claimed`."""
    parts = Parts(Menus(outside.catalog), Starting(outside.router, invitations, clock), invitations)
    steps = Steps(db, outside.journal, outside.mailer, invitations, clock)
    saga = Saga(db, steps, idempotent, parts, clock, claimed.wake)
    workers = [Worker(f"orders-{number}", saga.work) for number in range(1, WORKERS + 1)]
    turns = itertools.cycle(workers)

    def wake() -> None:
        next(turns).wake()

    intake = Intake(db, idempotent, parts, clock)
    desks = Desks(intake, saga, invitations, claimed.revealing)
    orders = OrdersServicer(db, idempotent, desks, wake, clock)
    taking = Taking(db, idempotent, parts, clock)
    claims = ClaimsServicer(db, taking, parts, claimed)
    pages = ClaimPagesServicer(db, taking, claims, clock)
    expiry = Worker("orders-expiry", saga.expire)
    return Room(orders, claims, pages, parts, intake, saga, wake, [*workers, expiry])
