"""Redemptions from the call to the mail, between a real ledger, catalog, provider and mailbox."""

from rewards.fulfillment.v1 import redemptions_pb2 as pb

from fulfillment_svc.tests.harness import Harness, address
from fulfillment_svc.tests.world import Funds


async def test_a_redemption_is_held_ordered_captured_and_delivered(harness: Harness) -> None:
    tenant, recipient = await harness.tenant(), address()
    created = await harness.create(tenant, "k", recipient=recipient, quantity=2, denomination=12.5)
    assert created.status == pb.Redemption.PROCESSING
    assert created.points == 2000
    assert [(i.number, i.brand, i.denomination, i.currency, i.code_masked) for i in created.items] == [
        (1, "Kaffa", 12.5, "USD", ""),
        (2, "Kaffa", 12.5, "USD", ""),
    ]
    assert await tenant.points() == Funds(10_000, 2_000)
    assert await tenant.funding() == Funds(100_000, 2_500)

    await harness.finish(await harness.assemble())
    assert await harness.check(tenant, Funds(10_000, 0), Funds(100_000, 0)) == "FULFILLED"
    done = await harness.get(tenant, created.redemption_id)
    assert done.status == pb.Redemption.FULFILLED
    assert done.transaction_id == created.transaction_id
    (mail,) = harness.mailbox.mails(recipient.email)
    text = mail.get_body(("plain",)).get_content()
    codes = [entry["code"] for entry in (await harness.provider.journal(created.redemption_id))[0]["items"]]
    assert all(code in text for code in codes)
    assert [item.code_masked for item in done.items] == [f"****{code[-4:]}" for code in codes]
