"""fulfillment_svc as the process that runs in the mesh: killed on the way, it goes on when it is back."""

import asyncio
import signal

import pytest
from rewards.fulfillment.v1 import order_batches_pb2 as pb_of_batches
from rewards.fulfillment.v1 import redemptions_pb2 as pb

from fulfillment_svc.tests.batching import batching, item
from fulfillment_svc.tests.harness import Harness, address
from fulfillment_svc.tests.world import Funds, Service


@pytest.mark.parametrize("failpoint", ["hold-funding.after", "order.after", "capture-points.after", "deliver.after"])
async def test_killed_on_the_way_it_goes_on_when_it_is_back(harness: Harness, process: Service, failpoint: str) -> None:
    tenant, recipient = await harness.tenant(), address()
    await process.start(FAILPOINTS=f"{failpoint}:kill")
    calling = asyncio.create_task(harness.create(tenant, "k", recipient=recipient))
    assert await process.exited() == -signal.SIGKILL
    await asyncio.gather(calling, return_exceptions=True)
    await harness.expire_leases()
    await process.start()
    await harness.connected()
    await harness.all_ended()
    redemption, _ = await harness.replayed(tenant, "k", recipient=recipient)
    assert redemption.status == pb.Redemption.PROCESSING
    assert (await harness.get(tenant, redemption.redemption_id)).status == pb.Redemption.FULFILLED
    assert await harness.check(tenant, Funds(10_000, 0), Funds(100_000, 0)) == "FULFILLED"
    assert {mail["Message-ID"] for mail in harness.mailbox.mails(recipient.email)} == {
        f"<{redemption.redemption_id}@rewards.mesh>"
    }
    await process.stop()
    log = (process.folder / "fulfillment_svc.log").read_text()
    (order, *_) = await harness.provider.journal(redemption.redemption_id)
    for secret in (recipient.email, recipient.name, order["items"][0]["code"]):
        assert secret not in log


@pytest.mark.parametrize("failpoint", ["batch.claimed", "place.after", "fund.after", "item.after", "batch.stored"])
async def test_a_batch_goes_on_where_the_process_was_killed(harness: Harness, process: Service, failpoint: str) -> None:
    mine = await batching(harness)
    await process.start(FAILPOINTS=f"{failpoint}:kill")
    batch_id = await mine.filled(*(item(f"{number}") for number in range(20)))
    committing = asyncio.create_task(mine.commit(batch_id))
    assert await process.exited() == -signal.SIGKILL
    await asyncio.gather(committing, return_exceptions=True)
    for table in ("order_batches", "orders"):
        await harness.execute(f"UPDATE {table} SET due_at = now() WHERE due_at IS NOT NULL")  # noqa: S608
    await process.start()
    await harness.connected()
    async with asyncio.timeout(60):
        while (done := await mine.batch(batch_id)).batch.status != pb_of_batches.OrderBatch.COMPLETED:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert (done.batch.succeeded, len({one.order_id for one in done.results})) == (20, 20)
    assert await harness.execute("SELECT count(*) FROM orders") == [(20,)]
    assert await mine.tenant.funding() == Funds(100_000, 50_000)


async def test_it_stops_when_it_is_told_to(process: Service) -> None:
    await process.start()
    process.tell(signal.SIGTERM)
    assert await process.exited() == 0
