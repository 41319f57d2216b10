"""Who is paid where recipients are no members: one person is one payee, and nobody's address is in a report."""

from datetime import timedelta
from typing import Any

from rewards.fulfillment.v1 import orders_pb2 as pb
from rewards.fulfillment.v1.reports_pb2 import PayeeRow
from rewards.ledger.v1.books_pb2_grpc import BooksServiceStub

from fulfillment_svc.reports import rules
from fulfillment_svc.reports.books import Books
from fulfillment_svc.reports.kinds import Payees, Scope
from fulfillment_svc.tables import programs
from fulfillment_svc.tests.harness import Harness
from fulfillment_svc.tests.ordering import Ordering, mail_address, ordering
from fulfillment_svc.tests.world import REWARD
from svckit.clock import system_clock


async def payees(mine: Ordering, size: int = 50) -> list[Any]:
    """All pages of so many rows."""
    world = mine.harness.world
    report = Payees(mine.harness.db, Books(BooksServiceStub(await world.channel("fulfillment_svc", world.ledger))))
    program = await programs.read(mine.harness.db, mine.tenant.program_id)
    scope = Scope(program, rules.closed(None, None, system_clock() + timedelta(minutes=2)))
    rows: list[Any] = []
    place: list[str] | None = None
    while True:
        page = await report.page(scope, place, size)
        rows += page.rows
        if page.place is None:
            return rows
        place = list(page.place)


async def test_a_person_with_several_orders_is_one_payee(harness: Harness) -> None:
    mine, to = await ordering(harness), mail_address()
    await harness.create(mine.tenant, "member")
    mailed: dict[str, Any] = {"reward_id": REWARD, "denomination": 12.5, "delivery": pb.Order.EMAIL}
    for key, email in (("a", to), ("b", to.upper()), ("c", mail_address())):
        await mine.create(key, recipient_email=email, **mailed)
    linked = await mine.create("link")
    for key in ("first", "second"):
        await mine.claim(linked, key)
        await mine.finish()
    await mine.finish()
    found = await payees(mine)
    assert [(row.kind, row.value) for row in found[:1]] == [(PayeeRow.MEMBER, 10)]
    others = sorted((row.kind, row.payments, row.value) for row in found[1:])
    assert others == [(PayeeRow.RECIPIENT, 1, 12.5), (PayeeRow.RECIPIENT, 2, 25), (PayeeRow.ORDER, 2, 25)]
    assert [row.payee for row in found if row.kind == PayeeRow.ORDER] == [linked.order_id]
    assert not any("@" in row.payee for row in found)
    for size in (1, 2, 3):
        assert await payees(mine, size) == found


async def test_nobody_is_the_same_payee_in_two_programs(harness: Harness) -> None:
    to, known = mail_address(), []
    for mine in (await ordering(harness), await ordering(harness)):
        await mine.create(reward_id=REWARD, denomination=12.5, delivery=pb.Order.EMAIL, recipient_email=to)
        await mine.finish()
        known += [row.payee for row in await payees(mine)]
    assert len(set(known)) == 2
