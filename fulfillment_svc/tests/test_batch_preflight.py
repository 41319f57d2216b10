"""What a commit would come to is told before it, and comes true."""

from collections import Counter
from typing import Any

from rewards.fulfillment.v1 import order_batches_pb2 as pb
from rewards.fulfillment.v1 import orders_pb2

from fulfillment_svc.batches import rules
from fulfillment_svc.batches.values import Item, Needed, Shortage
from fulfillment_svc.codes import Sealed
from fulfillment_svc.orders.menus import Menus
from fulfillment_svc.tables import programs
from fulfillment_svc.tests.batching import Batching, batching, item
from fulfillment_svc.tests.harness import Harness
from fulfillment_svc.tests.ordering import wanted
from fulfillment_svc.tests.refusals import reason
from fulfillment_svc.tests.test_fees import FEES
from fulfillment_svc.tests.world import REWARD, WITHDRAWN, Funds

FULL = Funds(100_000, 0)
TABLES = "order_batches", "order_batch_items", "orders", "idempotency_keys", "events"


def needs(number: int, currency: str, value_minor: int, fee_minor: int = 0) -> Needed:
    return Needed(Item(number, f"{number}", Sealed("", b"", b"")), currency, value_minor, fee_minor)


def test_the_first_item_for_which_the_money_does_not_last_is_found_by_currency() -> None:
    needed = [needs(1, "USD", 60), needs(2, "EUR", 5), needs(3, "USD", 30, 11), needs(4, "USD", 1), needs(5, "EUR", 5)]
    eur, usd = rules.shortages(needed, {"USD": 100, "EUR": 10, "JPY": 3})
    assert (eur.currency, eur.needed_minor, eur.short_by_minor, eur.at) == ("EUR", 10, 0, None)
    assert (usd.needed_minor, usd.fees_minor, usd.available_minor, usd.short_by_minor) == (102, 11, 100, 2)
    assert usd.at == needed[2].item
    assert rules.shortages([needs(1, "JPY", 7)], {}) == [Shortage("JPY", 0, 7, 0, needs(1, "JPY", 7).item)]
    assert rules.shortages([], {"USD": 1}) == []


async def kept(mine: Batching) -> list[Any]:
    """All that there is, in a database that is one test's own."""
    return [await mine.harness.execute(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES]  # noqa: S608


async def test_a_check_changes_nothing(harness: Harness) -> None:
    mine = await batching(harness)
    batch_id = await mine.filled(item("a"), item("bad", value=24.0))
    before = await kept(mine)
    checked = await mine.check_up(batch_id)
    assert (checked.checked, checked.refused) == (2, 1)
    assert await kept(mine) == before
    assert await mine.tenant.funding() == FULL
    assert await mine.events() == []


async def test_what_is_missing_is_told_with_the_item_and_comes_true(harness: Harness) -> None:
    # With its fee, an item of 25 dollars costs 25.96.
    mine = await batching(harness, funding=80.0, fees=FEES)
    batch_id = await mine.filled(item("a"), item("bad", value=24.0), item("b"), item("c"), item("d"), item("e"))
    (usd,) = (await mine.check_up(batch_id)).funding
    assert (usd.currency, usd.needed, usd.fees, usd.available, usd.short_by) == ("USD", 129.8, 4.8, 80, 49.8)
    assert (usd.short_at_index, usd.short_at_item_key) == (4, "d")
    await mine.commit(batch_id)
    done = await mine.complete(batch_id)
    dry = [one for one in done.results if one.refusal.reason == "INSUFFICIENT_FUNDS"]
    assert (len(dry), done.batch.succeeded) == (2, 3), "whichever, as they are ordered several at once"
    (again,) = (await mine.check_up(batch_id)).funding
    assert (again.needed, again.available, again.short_by) == (51.92, 2.12, 49.8), "of what a commit would take up"
    await mine.tenant.fill(0, 49.8)
    (enough,) = (await mine.check_up(batch_id)).funding
    assert (enough.short_by, enough.HasField("short_at_index"), enough.short_at_item_key) == (0, False, "")
    await mine.commit(batch_id, "again")
    assert (await mine.complete(batch_id)).batch.succeeded == 5
    last = await mine.check_up(batch_id)
    assert (last.checked, list(last.funding)) == (0, [])


async def test_what_would_be_refused_is_refused_so(harness: Harness) -> None:
    mine = await batching(harness)
    wrong = [
        item("1", value=24.0),
        item("2", reward_id=WITHDRAWN, denomination=10.0),
        item("3", reward_id="nothing", denomination=10.0),
        item("4", recipient_email="a..b@example.com"),
        item("5", recipient=orders_pb2.OrderRecipient(country="GB")),
        item("6", reward_id=REWARD),
        item("7", value=10.001),
    ]
    batch_id = await mine.filled(item("good"), *wrong)
    checked = await mine.check_up(batch_id)
    assert (checked.checked, checked.refused, checked.funding[0].needed) == (8, 7, 25)
    await mine.commit(batch_id)
    done = await mine.complete(batch_id)
    refused = [one for one in done.results if one.status == pb.OrderBatchResult.FAILED]
    assert [(one.index, one.item_key, one.refusal) for one in checked.findings] == [
        (one.index, one.item_key, one.refusal) for one in refused
    ]
    assert len({one.refusal.reason for one in refused}) == 6


async def test_a_batch_that_is_not_there_cannot_be_checked(harness: Harness) -> None:
    mine, theirs = await batching(harness), await batching(harness)
    batch_id = await mine.filled(item("a"))
    assert await reason(theirs.check_up(batch_id)) == "ORDER_NOT_FOUND"


class Counting:
    """Passes calls on to the catalog and counts them."""

    def __init__(self, catalog: Any) -> None:
        self._catalog = catalog
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        def call(*sent: Any, **more: Any) -> Any:
            self.calls[name] += 1
            return getattr(self._catalog, name)(*sent, **more)

        return call


async def test_the_catalog_is_asked_the_same_once(harness: Harness) -> None:
    mine = await batching(harness)
    ordered, _ = await mine.room()
    catalog = Counting((await harness.outside()).catalog)
    intake = ordered.intake
    intake._menus = Menus(catalog)  # type: ignore[arg-type]
    program = await programs.read(harness.db, mine.tenant.program_id)
    many = intake.remembering()
    for value in (10.0, 12.5, 20.0, 22.5, 25.0):
        await many.check(wanted(value=value), program)
        await many.check(wanted(reward_id=REWARD, denomination=10.0), program)
    assert catalog.calls == {"ListMenu": 1, "QuoteReward": 1}
