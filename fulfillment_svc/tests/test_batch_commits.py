"""A batch that is committed: each item becomes one order or is refused once, whoever crashes or races on the way."""

import asyncio

import pytest
from rewards.fulfillment.v1 import order_batches_pb2 as pb
from rewards.fulfillment.v1 import orders_pb2

from fulfillment_svc.batches import store
from fulfillment_svc.batches.placing import AT_ONCE
from fulfillment_svc.redemptions import failpoints
from fulfillment_svc.redemptions.saga import LEASE_S
from fulfillment_svc.redemptions.store import LeaseLost
from fulfillment_svc.tests.batching import Batching, batching, item
from fulfillment_svc.tests.harness import SITE, Harness
from fulfillment_svc.tests.ordering import mail_address
from fulfillment_svc.tests.refusals import reason
from fulfillment_svc.tests.world import REWARD, WITHDRAWN, Funds

OPEN, RUNNING, COMPLETED = pb.OrderBatch.OPEN, pb.OrderBatch.RUNNING, pb.OrderBatch.COMPLETED
PENDING, SUCCEEDED, FAILED = (
    pb.OrderBatchResult.PENDING,
    pb.OrderBatchResult.SUCCEEDED,
    pb.OrderBatchResult.FAILED,
)
FULL = Funds(100_000, 0)
SWEPT = [*failpoints.OF_BATCHES, *(name for name in failpoints.OF_ORDERS if name.startswith(("place", "fund")))]


async def orders_of(mine: Batching) -> int:
    """How many orders the tenant has that were not refused; each holds its value."""
    ((count,),) = await mine.harness.execute(
        "SELECT count(*) FROM orders WHERE program_id = :p AND refusal IS NULL", p=mine.tenant.program_id
    )
    return int(count)


async def test_each_item_becomes_an_order_as_by_a_call_of_its_own(harness: Harness) -> None:
    mine, to = await batching(harness), mail_address()
    direct = item("direct", reward_id=REWARD, denomination=12.5, recipient_email=to, delivery=orders_pb2.Order.EMAIL)
    batch_id = await mine.filled(*(item(f"{n}") for n in range(AT_ONCE + 2)), direct)
    committed = await mine.commit(batch_id)
    assert (committed.status, committed.pending) == (RUNNING, AT_ONCE + 3)
    assert await mine.tenant.funding() == FULL, "a commit does not wait for the orders"
    done = await mine.complete(batch_id)
    figures = done.batch.status, done.batch.total, done.batch.pending, done.batch.succeeded, done.batch.failed
    assert figures == (COMPLETED, AT_ONCE + 3, 0, AT_ONCE + 3, 0)
    assert await mine.tenant.funding() == Funds(100_000, 2_500 * (AT_ONCE + 2) + 1_250)
    read = await mine.get(orders_pb2.Order(order_id=done.results[0].order_id))
    assert (read.value, read.status) == (25, orders_pb2.Order.PENDING)
    await mine.finish()
    assert len(harness.mailbox.mails(to)) == 1
    assert await mine.events() == ["batch.completed", "order.redeemed"]
    await mine.check(FULL)


async def test_only_who_may_order_sees_the_links(harness: Harness) -> None:
    mine = await batching(harness)
    batch_id = await mine.filled(item("a"))
    await mine.commit(batch_id)
    (ordered,) = (await mine.complete(batch_id)).results
    assert ordered.redemption_url.startswith(f"{SITE}/claim/")
    assert [one.denominations for one in (await mine.show(link(ordered), country="DE")).menu] == [[10, 12.5]]
    (seen,) = (await mine.batch(batch_id, ["orders:read"])).results
    assert (seen.order_id, seen.redemption_url) == (ordered.order_id, "")
    await mine.cancel(link(ordered))
    (gone,) = (await mine.batch(batch_id)).results
    assert (gone.status, gone.redemption_url) == (SUCCEEDED, "")


async def test_what_is_refused_holds_up_nothing_and_says_why(harness: Harness) -> None:
    mine = await batching(harness)
    wrong = {
        "DENOMINATION_INVALID": item("1", value=24.0),
        "REWARD_UNAVAILABLE": item("2", reward_id=WITHDRAWN, denomination=10.0),
        "REWARD_NOT_FOUND": item("3", reward_id="nothing", denomination=10.0),
        "RECIPIENT_INVALID": item("4", recipient_email="a..b@example.com"),
        "INVALID_REQUEST": item("5", expires_at="2020-01-01"),
        "INSUFFICIENT_FUNDS": item("6", value=2_000.0, options=[], catalog_filter=orders_pb2.CatalogFilter()),
    }
    await mine.tenant.put_reward("big", denominations=[2_000.0])
    batch_id = await mine.filled(*wrong.values(), item("good"))
    await mine.commit(batch_id)
    done = await mine.complete(batch_id)
    assert [one.refusal.reason for one in done.results] == [*wrong, ""]
    assert [one.status for one in done.results] == [FAILED] * 6 + [SUCCEEDED]
    assert done.results[4].refusal.error_code == 1000
    assert done.results[4].refusal.message == "expiresAt has passed already"
    assert (done.batch.succeeded, done.batch.failed) == (1, 6)
    assert await mine.tenant.funding() == Funds(100_000, 2_500)


async def test_what_ran_dry_goes_on_where_it_was(harness: Harness) -> None:
    mine = await batching(harness, funding=60.0)
    batch_id = await mine.filled(*(item(f"{n}") for n in range(4)), item("bad", value=24.0))
    await mine.commit(batch_id)
    first = await mine.complete(batch_id)
    assert (first.batch.succeeded, first.batch.failed) == (2, 3)
    assert (await mine.commit(batch_id, "dry")).status == RUNNING
    assert (await mine.complete(batch_id)).batch.failed == 3, "still no money"
    await mine.tenant.fill(0, 1_000)
    assert (await mine.commit(batch_id, "again")).pending == 2
    last = await mine.complete(batch_id)
    assert (last.batch.succeeded, last.batch.failed) == (4, 1)
    before = {one.item_key: one.order_id for one in first.results if one.order_id}
    after = {one.item_key: one.order_id for one in last.results}
    assert {key: after[key] for key in before} == before, "what was ordered stays as it is"
    assert await orders_of(mine) == 4
    assert (await mine.commit(batch_id, "more")).status == COMPLETED, "there is nothing left to try"
    assert (await mine.commit(batch_id)).status == RUNNING, "the first commit's key has its first answer"
    assert await mine.tenant.funding() == Funds(106_000, 10_000)
    assert await mine.events() == ["batch.completed"] * 3


async def test_commits_that_race_order_each_item_once(harness: Harness) -> None:
    mine = await batching(harness, funding=50.0)
    batch_id = await mine.filled(*(item(f"{n}") for n in range(4)))
    commits = await asyncio.gather(*(mine.commit(batch_id, f"{n}") for n in range(10)))
    assert {one.status for one in commits} == {RUNNING}
    await mine.complete(batch_id)
    await mine.tenant.fill(0, 1_000)
    again = await asyncio.gather(*(mine.commit(batch_id, f"again-{n}") for n in range(10)))
    assert {(one.status, one.pending) for one in again} == {(RUNNING, 2)}
    done = await mine.complete(batch_id)
    assert (done.batch.succeeded, await orders_of(mine)) == (4, 4)
    rounds = await harness.execute("SELECT round FROM order_batch_items ORDER BY round")
    assert [row.round for row in rounds] == [0, 0, 1, 1]


async def test_an_open_batch_is_not_ordered_and_a_committed_one_not_added_to(harness: Harness) -> None:
    mine = await batching(harness)
    batch_id = await mine.filled()
    assert await reason(mine.commit(batch_id)) == "CONFLICT", "there is nothing in it"
    await mine.append(batch_id, [item("a")], "1")
    assert (await mine.complete(batch_id)).batch.status == OPEN
    await mine.commit(batch_id)
    assert await reason(mine.append(batch_id, [item("b")], "2")) == "CONFLICT"
    assert await mine.append(batch_id, [item("a")], "1") == (1, 0), "its key has its first answer"
    await mine.complete(batch_id)
    assert await reason(mine.append(batch_id, [item("b")], "2")) == "CONFLICT"
    assert await reason((await batching(harness)).commit(batch_id)) == "ORDER_NOT_FOUND"


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("name", SWEPT)
async def test_a_crash_anywhere_doubles_and_loses_nothing(harness: Harness, name: str, *, later: bool) -> None:
    mine = await batching(harness, funding=25.0 * AT_ONCE)
    batch_id = await mine.filled(*(item(f"{n}") for n in range(AT_ONCE + 2)), item("bad", value=24.0))
    await mine.commit(batch_id)
    second = 2 if name.startswith("batch") else AT_ONCE + 1
    failpoints.load(f"{name}:raise:{second if later else 1}")
    done = await mine.complete(batch_id)
    assert not failpoints.armed(), "this crash never came"
    assert (done.batch.succeeded, done.batch.failed) == (AT_ONCE, 3)
    ordered = [one.order_id for one in done.results if one.order_id]
    assert (len(set(ordered)), await orders_of(mine)) == (AT_ONCE, AT_ONCE)
    assert await mine.tenant.funding() == Funds(2_500 * AT_ONCE, 2_500 * AT_ONCE)
    assert await mine.events() == ["batch.completed"]


async def test_a_worker_whose_lease_is_over_cannot_count_its_items_again(harness: Harness) -> None:
    mine = await batching(harness)
    batch_id = await mine.filled(*(item(f"{n}") for n in range(AT_ONCE + 2)))
    await mine.commit(batch_id)
    _, slow = await mine.room()
    found = await harness.db.transact(lambda tx: store.claim_due(tx, mine.tenant.program_id, LEASE_S, AT_ONCE))
    assert found is not None
    batch, items = found
    tried = [await slow.placing._try(batch, one) for one in items]
    assert await _due(mine) == 0, "it is leased"
    await harness.execute("UPDATE order_batches SET due_at = now()")
    _, other = await mine.room()
    assert await other.placing.work() == 1
    running = (await mine.batch(batch_id)).batch
    assert running.pending == 2
    with pytest.raises(LeaseLost):
        await slow.placing._settle(batch, tried)
    assert (await mine.batch(batch_id)).batch == running
    done = await mine.complete(batch_id)
    assert (done.batch.succeeded, await orders_of(mine)) == (AT_ONCE + 2, AT_ONCE + 2)
    assert await mine.events() == ["batch.completed"]


async def test_workers_at_one_batch_and_at_several_finish_them_all(harness: Harness) -> None:
    mine = await batching(harness)
    batch_ids = [await mine.filled(*(item(f"{n}", value=10.0) for n in range(12))) for _ in range(3)]
    for batch_id in batch_ids:
        await mine.commit(batch_id, batch_id)

    async def works() -> None:
        _, batched = await mine.room()
        while await _left(mine):
            await batched.placing.work()

    await asyncio.gather(*(works() for _ in range(4)))
    assert [(await mine.batch(one)).batch.succeeded for one in batch_ids] == [12, 12, 12]
    assert await orders_of(mine) == 36


async def test_an_item_that_cannot_be_read_holds_up_no_other_and_is_not_given_up(harness: Harness) -> None:
    mine = await batching(harness)
    batch_id = await mine.filled(*(item(f"{n}", value=10.0) for n in range(2 * AT_ONCE)))
    await mine.commit(batch_id)
    first = {"n": AT_ONCE}
    await harness.execute("UPDATE order_batch_items SET ciphertext = ciphertext || 'x' WHERE number <= :n", **first)
    _, batched = await mine.room()
    for _ in range(4):
        await harness.execute("UPDATE order_batches SET due_at = now()")
        assert await batched.placing.work() == 1
    read = (await mine.batch(batch_id)).batch
    assert (read.status, read.succeeded, read.pending) == (RUNNING, AT_ONCE, AT_ONCE)
    mended = "substr(ciphertext, 1, length(ciphertext) - 1)"
    await harness.execute(f"UPDATE order_batch_items SET ciphertext = {mended} WHERE number <= :n", **first)  # noqa: S608
    assert (await mine.complete(batch_id)).batch.succeeded == 2 * AT_ONCE


async def test_without_the_ledger_items_wait(harness: Harness) -> None:
    mine = await batching(harness)
    batch_id = await mine.filled(item("a"), item("b"))
    await mine.commit(batch_id)
    await harness.world.ledger.stop()
    _, batched = await mine.room()
    assert await batched.placing.work() == 1
    assert await batched.placing.work() == 0, "it is left alone for a while"
    assert {one.status for one in (await mine.batch(batch_id)).results} == {PENDING}
    await harness.world.start()
    assert (await mine.complete(batch_id)).batch.succeeded == 2
    assert await mine.tenant.funding() == Funds(100_000, 5_000)


def link(result: pb.OrderBatchResult) -> orders_pb2.Order:
    """The order of an item, with the link that the batch shows."""
    return orders_pb2.Order(order_id=result.order_id, redemption_url=result.redemption_url)


async def _due(mine: Batching) -> int:
    ((count,),) = await mine.harness.execute("SELECT count(*) FROM order_batches WHERE due_at <= now()")
    return int(count)


async def _left(mine: Batching) -> int:
    ((count,),) = await mine.harness.execute("SELECT count(*) FROM order_batches WHERE due_at IS NOT NULL")
    return int(count)
