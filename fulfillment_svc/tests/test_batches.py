"""Batches before they are committed: opened, filled by many at once, and read."""

import asyncio
import secrets
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto
from google.rpc.error_details_pb2 import BadRequest
from rewards.fulfillment.v1 import order_batches_pb2 as pb
from rewards.fulfillment.v1 import orders_pb2

from fulfillment_svc import rotation
from fulfillment_svc.batches import wire
from fulfillment_svc.codes import Vault
from fulfillment_svc.tests.batching import batching, item, of
from fulfillment_svc.tests.harness import Harness
from fulfillment_svc.tests.ordering import outcome, wanted
from fulfillment_svc.tests.refusals import reason, refusal
from fulfillment_svc.webhooks.sealer import Sealer
from svckit import paging
from svckit.clock import new_id
from svckit.errors import Refused

OPEN = pb.OrderBatch.OPEN


def test_an_item_is_a_single_calls_request_byte_for_byte() -> None:
    of_item, of_call = DescriptorProto(), DescriptorProto()
    pb.OrderBatchItem.DESCRIPTOR.CopyToProto(of_item)
    orders_pb2.CreateOrderRequest.DESCRIPTOR.CopyToProto(of_call)
    assert of_item.field.pop().name == "item_key"
    assert of_item.field == of_call.field, "with all their rules"
    request = wanted(recipient=orders_pb2.OrderRecipient(name="Ada", country="DE"))
    assert wire.request(of("a", request)).SerializeToString() == request.SerializeToString()


async def test_a_batch_is_filled_and_read_page_by_page(harness: Harness) -> None:
    mine = await batching(harness)
    batch_id = await mine.open()
    assert await mine.open() == batch_id, "the same key"
    assert await mine.append(batch_id, [item(f"{n}") for n in range(3)], "1") == (3, 0)
    assert await mine.append(batch_id, [item(f"{n}") for n in range(3)], "1") == (3, 0), "the same key"
    assert await mine.append(batch_id, [item(f"{n}") for n in range(1, 5)], "2") == (2, 2)
    read = await mine.batch(batch_id, page_size=3)
    assert (read.batch.status, read.batch.total, read.batch.pending) == (OPEN, 5, 5)
    assert (read.batch.HasField("committed_at"), read.batch.HasField("completed_at")) == (False, False)
    rest = await mine.batch(batch_id, page_size=3, page_token=read.next_page_token)
    assert rest.next_page_token == ""
    assert [(one.index, one.item_key) for one in (*read.results, *rest.results)] == [(n, f"{n}") for n in range(5)]
    assert {one.status for one in read.results} == {pb.OrderBatchResult.PENDING}
    for forged in ("nothing", "-1", "9" * 30):
        asked = pb.GetOrderBatchRequest(batch_id=batch_id)
        assert await reason(mine.batch(batch_id, page_token=paging.token(asked, forged))) == "INVALID_REQUEST"


async def test_an_item_key_stands_for_one_content(harness: Harness) -> None:
    mine = await batching(harness)
    batch_id = await mine.open()
    await mine.append(batch_id, [item("a"), item("b")], "1")
    sent = [item("new"), item("b", value=10.0), item("a"), item("new", value=10.0)]
    refused = await refusal(mine.append(batch_id, sent, "2"))
    assert fields(refused) == ["items[1].itemKey", "items[3].itemKey"]
    assert await reason(mine.append(batch_id, sent, "2")) == "IDEMPOTENCY_KEY_REUSED"
    assert (await mine.batch(batch_id)).batch.total == 2, "the call is atomic"
    assert await mine.append(batch_id, [item("new"), item("a"), item("new")], "2") == (1, 2)


async def test_appends_that_race_add_each_item_once(harness: Harness) -> None:
    mine = await batching(harness)
    batch_id = await mine.open()
    sent = [[item(f"{n}") for n in range(start, start + 40)] for start in (0, 20, 0, 20, 40)]
    added = await asyncio.gather(*(mine.append(batch_id, some, f"{key}") for key, some in enumerate(sent)))
    assert sum(new for new, _ in added) == 80
    read = await mine.batch(batch_id)
    assert [one.index for one in read.results] == list(range(80))
    assert {one.item_key for one in read.results} == {f"{n}" for n in range(80)}


async def test_of_two_contents_that_race_for_a_key_one_is_appended(harness: Harness) -> None:
    mine = await batching(harness)
    batch_id = await mine.open()
    values = [10.0, 12.5, 20.0, 22.5, 25.0]
    calls = (mine.append(batch_id, [item("a", value=value)], f"{value}") for value in values)
    assert sorted(await asyncio.gather(*map(outcome, calls))) == ["CLAIMED", *["IDEMPOTENCY_KEY_REUSED"] * 4]


async def test_a_batch_has_ten_thousand_items_at_most(harness: Harness) -> None:
    mine = await batching(harness)
    batch_id = await mine.open()
    for call in range(20):
        await mine.append(batch_id, [item(f"{call}-{n}") for n in range(500)], f"{call}")
    assert await mine.append(batch_id, [item("0-0")], "known") == (0, 1)
    assert await reason(mine.append(batch_id, [item("more")], "more")) == "INVALID_REQUEST"
    assert (await mine.batch(batch_id)).batch.total == 10_000


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("items[1].recipient.email", {"recipient": orders_pb2.OrderRecipient(email="nobody")}),
        ("items[1].value", {"value": -1.0}),
        ("items[1].itemKey", {"key": "a b"}),
    ],
)
async def test_what_is_malformed_refuses_the_call_by_its_place(
    harness: Harness, field: str, wrong: dict[str, Any]
) -> None:
    mine = await batching(harness)
    batch_id = await mine.open()
    sent = [item("a"), item(**({"key": "b"} | wrong))]
    refused = await refusal(mine.append(batch_id, sent, "1"))
    assert fields(refused) == [field]
    assert (await mine.batch(batch_id)).batch.total == 0


async def test_a_batch_is_nobody_elses(harness: Harness) -> None:
    mine, theirs = await batching(harness), await batching(harness)
    batch_id = await mine.open()
    for asked in (batch_id, str(new_id()), "nonsense"):
        assert await reason(theirs.batch(asked)) == "ORDER_NOT_FOUND"
        assert await reason(theirs.append(asked, [item("a")], "1")) == "ORDER_NOT_FOUND"


async def test_who_gets_what_lies_sealed_and_moves_to_a_new_master_key(harness: Harness) -> None:
    mine = await batching(harness)
    batch_id = await mine.open()
    to = orders_pb2.OrderRecipient(email="ada@lovelace.example", name="Ada Lovelace")
    await mine.append(batch_id, [item(f"{n}", recipient=to) for n in range(101)], "1")
    for table in ("order_batches", "order_batch_items", "idempotency_keys"):
        rows = await harness.execute(f"SELECT * FROM {table}")  # noqa: S608 - the names stand above
        assert rows
        assert not any(b"ovelace" in cell for row in rows for cell in _bytes(row))
    old, harness.master_key = harness.master_key, secrets.token_bytes(32)
    both = [harness.master_key, old]
    assert await rotation.left(harness.db, Vault(both), Sealer(both)) == 101
    assert await rotation.rewrap(harness.db, Vault(both), Sealer(both)) == 101
    assert await rotation.left(harness.db, Vault(both), Sealer(both)) == 0
    await harness.start()
    assert await mine.append(batch_id, [item("0", recipient=to)], "2") == (0, 1)


def fields(refused: Refused) -> list[str]:
    """The fields that a refusal names."""
    assert isinstance(refused.detail, BadRequest)
    return [one.field for one in refused.detail.field_violations]


def _bytes(row: Any) -> list[bytes]:
    return [bytes(cell) if isinstance(cell, bytes | memoryview) else str(cell).encode() for cell in row]
