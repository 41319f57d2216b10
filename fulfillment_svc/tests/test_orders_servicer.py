"""Ordering for a recipient, through the real server and against a real ledger, catalog and provider."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rewards.catalog.v1 import rewards_pb2 as catalog_pb
from rewards.fulfillment.v1 import orders_pb2 as pb

from fulfillment_svc import rotation
from fulfillment_svc.codes import Vault
from fulfillment_svc.orders import store
from fulfillment_svc.orders.invitations import Invitations
from fulfillment_svc.tests.harness import SITE, Harness
from fulfillment_svc.tests.ordering import mail_address, ordering, token
from fulfillment_svc.tests.refusals import reason
from fulfillment_svc.tests.world import BRAND, REWARD, WITHDRAWN, Funds
from fulfillment_svc.webhooks.sealer import Sealer

CLOSED, OPEN = pb.MenuOption.CLOSED_LOOP, pb.MenuOption.OPEN_LOOP
FULL = Funds(100_000, 0)


async def test_an_order_holds_its_whole_value_and_answers_with_a_link(harness: Harness) -> None:
    mine = await ordering(harness)
    order = await mine.create(recipient=pb.OrderRecipient(name="Ada"))
    assert (order.status, order.value, order.remaining, order.fees, order.returned) == (pb.Order.PENDING, 25, 25, 0, 0)
    assert (order.currency, order.delivery) == ("USD", pb.Order.LINK)
    assert await mine.tenant.funding() == Funds(100_000, 2_500)
    read = await mine.get(order)
    assert read.redemption_url == "", "whoever may read orders may not claim them"
    order_again = await mine.create(recipient=pb.OrderRecipient(name="Ada"))
    assert order_again == order
    assert await mine.tenant.funding() == Funds(100_000, 2_500)
    assert await reason(mine.create(value=10.0)) == "IDEMPOTENCY_KEY_REUSED"


async def test_a_links_token_is_stored_nowhere_as_it_is(harness: Harness) -> None:
    mine = await ordering(harness)
    secret = token(await mine.create())
    assert len(secret) >= 32
    for table in ("orders", "order_secrets", "idempotency_keys", "redemptions"):
        rows = await harness.execute(f"SELECT * FROM {table}")  # noqa: S608 - the names stand above
        assert not any(secret in str(cell) or secret.encode() in _bytes(cell) for row in rows for cell in row)


async def test_links_are_read_on_under_a_new_master_key(harness: Harness) -> None:
    mine = await ordering(harness)
    order, old = await mine.create(), harness.master_key
    harness.master_key = secrets.token_bytes(32)
    both = [harness.master_key, old]
    assert await rotation.rewrap(harness.db, Vault(both), Sealer(both)) == 1
    assert await rotation.left(harness.db, Vault(both), Sealer(both)) == 0
    async with harness.db.read() as tx:
        (row,) = await store.page(tx, mine.tenant.program_id, None, 1)
        opened = await Invitations(Vault([harness.master_key]), SITE, b"").of(tx, row)
    assert opened.token == token(order)


async def test_one_reward_by_mail_needs_no_click(harness: Harness) -> None:
    mine, to = await ordering(harness), mail_address()
    named: dict[str, Any] = {
        "reward_id": REWARD,
        "denomination": 12.5,
        "recipient_email": to,
        "delivery": pb.Order.EMAIL,
    }
    order = await mine.create(**named)
    assert (order.redemption_url, order.remaining, order.value, order.reward_id) == ("", 0, 12.5, REWARD)
    await mine.finish()
    (mail,) = harness.mailbox.mails(to)
    (code,) = await mine.reveal(order)
    assert code in mail.get_body(("plain",)).get_content()
    assert "points" not in mail.get_body(("plain",)).get_content()
    done = await mine.get(order)
    assert (done.status, [claim.status for claim in done.claims]) == (pb.Order.REDEEMED, [pb.OrderClaim.FULFILLED])
    await mine.check(FULL)
    assert await mine.events() == ["order.redeemed"]


async def test_a_menu_by_mail_brings_the_link_and_no_code(harness: Harness) -> None:
    mine, to = await ordering(harness), mail_address()
    order = await mine.create(recipient_email=to, delivery=pb.Order.DELIVERY_UNSPECIFIED)
    assert order.delivery == pb.Order.EMAIL
    await mine.finish()
    (mail,) = harness.mailbox.mails(to)
    assert order.redemption_url in mail.get_body(("plain",)).get_content()
    assert mail["Message-ID"] == f"<{order.order_id}@rewards.mesh>"
    claim = await mine.claim(order, "c")
    await mine.finish()
    (_, brought) = harness.mailbox.mails(to)
    assert brought["Message-ID"] == f"<{claim.claim_id}@rewards.mesh>"


async def test_one_reward_that_cannot_be_had_after_all_gives_its_value_back(harness: Harness) -> None:
    mine = await ordering(harness)
    await harness.provider.fault("reject")
    named: dict[str, Any] = {"brand": BRAND.lower(), "denomination": 10.0, "recipient_email": mail_address()}
    order = await mine.create(**named, delivery=pb.Order.EMAIL)
    await mine.finish()
    failed = await mine.get(order)
    assert (failed.status, failed.returned, failed.failure_reason[:8]) == (pb.Order.FAILED, 10, "PROVIDER")
    await mine.check(FULL)
    assert await mine.events() == ["order.failed"]


async def test_an_order_names_a_reward_by_its_brand(harness: Harness) -> None:
    mine = await ordering(harness)
    order = await mine.create(brand=BRAND.upper(), denomination=12.5)
    assert (order.reward_id, order.value) == (REWARD, 12.5)
    assert await reason(mine.create("k2", brand=BRAND, denomination=11.0)) == "DENOMINATION_INVALID"


REFUSED: list[tuple[str, dict[str, Any]]] = [
    # 10 and 12.50 make 22.50 and 25, and nothing in between.
    ("DENOMINATION_INVALID", {"value": 24.0}),
    ("DENOMINATION_INVALID", {"value": 5.0}),
    ("DENOMINATION_INVALID", {"reward_id": REWARD, "denomination": 11.0}),
    ("DENOMINATION_INVALID", {"reward_id": REWARD, "denomination": 10.0, "currency": "EUR"}),
    ("COUNTRY_NOT_SERVED", {"recipient": pb.OrderRecipient(country="GB")}),
    ("COUNTRY_NOT_SERVED", {"reward_id": REWARD, "denomination": 10.0, "recipient": pb.OrderRecipient(country="GB")}),
    (
        "COUNTRY_NOT_SERVED",
        {
            "catalog_filter": pb.CatalogFilter(countries=["US"]),
            "value": 10.0,
            "recipient": pb.OrderRecipient(country="DE"),
        },
    ),
    ("COUNTRY_NOT_SERVED", {"catalog_filter": pb.CatalogFilter(countries=["FR"]), "value": 10.0}),
    ("REWARD_UNAVAILABLE", {"options": [pb.MenuOption(type=OPEN, network="visa")], "value": 25.0}),
    ("REWARD_UNAVAILABLE", {"value": 25.0, "currency": "EUR"}),
    ("REWARD_UNAVAILABLE", {"reward_id": WITHDRAWN, "denomination": 10.0}),
    ("REWARD_NOT_FOUND", {"reward_id": "nothing", "denomination": 10.0}),
    ("RECIPIENT_INVALID", {"recipient_email": "a..b@example.com"}),
    ("INSUFFICIENT_FUNDS", {"value": 100.0}),
    ("INVALID_REQUEST", {"delivery": pb.Order.EMAIL}),
    ("INVALID_REQUEST", {"reward_id": REWARD}),
    ("INVALID_REQUEST", {"reward_id": REWARD, "brand": BRAND, "denomination": 10.0}),
    ("INVALID_REQUEST", {"reward_id": REWARD, "denomination": 10.0, "value": 12.5}),
    ("INVALID_REQUEST", {"value": 10.001}),
    ("INVALID_REQUEST", {"expires_at": "2020-01-01"}),
    ("INVALID_REQUEST", {"expires_at": "soon"}),
    ("INVALID_REQUEST", {"expires_at": "9999-12-31T23:59:59-14:00"}),
]


@pytest.mark.parametrize(("named", "changes"), REFUSED, ids=lambda one: one if isinstance(one, str) else "")
async def test_what_cannot_be_ordered_is_refused_at_once(harness: Harness, named: str, changes: dict[str, Any]) -> None:
    mine = await ordering(harness, funding=50.0)
    assert await reason(mine.create(**changes)) == named
    assert await reason(mine.create(**changes)) == named, "the same key is refused again"
    assert await mine.tenant.funding() == Funds(5_000, 0)
    assert await mine.events() == []


async def test_a_menu_is_judged_by_the_recipients_country(harness: Harness) -> None:
    mine = await ordering(harness)
    await mine.tenant.put_reward("uk", brand=BRAND, countries=["GB"], denominations=[20.0])
    gb, de = pb.OrderRecipient(country="GB"), pb.OrderRecipient(country="DE")
    assert await reason(mine.create("1", value=25.0, recipient=gb)) == "DENOMINATION_INVALID"
    assert (await mine.create("2", value=40.0, recipient=gb)).value == 40
    assert (await mine.create("3", value=25.0, recipient=de)).value == 25


async def test_a_filter_and_options_say_what_may_be_chosen(harness: Harness) -> None:
    mine = await ordering(harness)
    await mine.tenant.put_reward("visa", kind=catalog_pb.Reward.OPEN_LOOP, brand="Visa", category="cards")
    await mine.tenant.put_reward(
        "any", denomination_range=catalog_pb.DenominationRange(min=5, max=50, step=5), category="travel"
    )
    options = [pb.MenuOption(type=CLOSED, brands=[BRAND]), pb.MenuOption(type=OPEN, network="VISA")]
    by_options = await mine.create("1", options=options, value=25.0)
    by_filter = await mine.create("2", catalog_filter=pb.CatalogFilter(categories=["travel"]), value=20.0)
    assert [one.reward_id for one in (await mine.show(by_options, country="DE")).menu] == [REWARD, "visa"]
    (one,) = (await mine.show(by_filter, country="DE")).menu
    assert (one.denomination_range.min, one.denomination_range.max, one.denomination_range.step) == (5, 20, 5)
    assert list((await mine.show(by_options, country="GB")).menu) == []


async def test_a_date_is_the_end_of_that_day_where_the_program_is(harness: Harness) -> None:
    mine = await ordering(harness)
    day = (datetime.now(UTC) + timedelta(days=30)).date()
    order = await mine.create(expires_at=day.isoformat())
    ends = order.expires_at.ToDatetime(UTC)
    assert ends in (
        datetime(day.year, day.month, day.day, 22, tzinfo=UTC),
        datetime(day.year, day.month, day.day, 23, tzinfo=UTC),
    ), "midnight in Berlin"


async def test_orders_are_listed_newest_first_and_are_nobody_elses(harness: Harness) -> None:
    mine, theirs = await ordering(harness), await ordering(harness)
    made = [await mine.create(f"k{number}") for number in range(3)]
    listed = pb.ListOrdersRequest(page_size=2)
    page = await harness.orders.ListOrders(listed, metadata=mine.partner())
    assert [one.order_id for one in page.orders] == [made[2].order_id, made[1].order_id]
    listed.page_token = page.next_page_token
    page = await harness.orders.ListOrders(listed, metadata=mine.partner())
    assert [one.order_id for one in page.orders] == [made[0].order_id]
    assert page.next_page_token == ""
    for asked in (theirs.get(made[0]), theirs.cancel(made[0]), theirs.reveal(made[0])):
        assert await reason(asked) == "ORDER_NOT_FOUND"


def _bytes(cell: object) -> bytes:
    return bytes(cell) if isinstance(cell, bytes | memoryview) else b""
