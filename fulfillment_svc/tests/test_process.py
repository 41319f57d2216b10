"""fulfillment_svc as the process that runs in the mesh: killed on the way, it goes on when it is back."""

import asyncio
import signal

import pytest
from rewards.fulfillment.v1 import redemptions_pb2 as pb

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


async def test_it_stops_when_it_is_told_to(process: Service) -> None:
    await process.start()
    process.tell(signal.SIGTERM)
    assert await process.exited() == 0
